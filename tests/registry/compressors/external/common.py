"""What the tests of checkpoints and commands share."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors.linear import linear_layers
from tests.registry.compressors.common import calibration
from tests.toys import VOCABULARY

HALVE = '''
"""Sets every second weight of every matrix within the blocks to zero; needs nothing but Python."""
import json, pathlib, re, shutil, sys

source, out = map(pathlib.Path, sys.argv[1:3])
content = bytearray((source / "model.safetensors").read_bytes())
length = int.from_bytes(content[:8], "little")
header = json.loads(content[8 : 8 + length])
for name, tensor in header.items():
    if re.search(r"[.](layers|h)[.][0-9]+[.]", name) and len(tensor["shape"]) == 2:
        start, end = (8 + length + offset for offset in tensor["data_offsets"])
        width = {"F32": 4, "BF16": 2}[tensor["dtype"]]
        for first in range(start, end, 2 * width):
            content[first : first + width] = bytes(width)
(out / "model.safetensors").write_bytes(content)
shutil.copy(source / "config.json", out)
print("halved", len(header), "tensors")
'''


def prune_half(model: PreTrainedModel) -> PreTrainedModel:
    """Set every second weight of every matrix of the blocks to zero, in place."""
    for layer in linear_layers(model):
        weight = layer.weight.clone()
        weight[:, ::2] = 0
        layer.set_weight(weight)
    return model


def pruned_checkpoint(model: PreTrainedModel, folder: Path) -> Path:
    """A plain checkpoint of the model with half of its weights gone; the model is used up."""
    prune_half(model).save_pretrained(folder)
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """The toys' tokenizer: one word an id."""
    words = ("<s>", "</s>", "<pad>", *(f"w{number}" for number in range(VOCABULARY - 3)))
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="</s>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def calibration_with_text() -> Calibration:
    """The usual ragged windows, with a tokenizer."""
    return Calibration(calibration().windows, 2, tokenizer=tokenizer())
