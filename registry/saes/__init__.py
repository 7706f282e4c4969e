"""SAEs: pretrained, trained, pruned, random. `resolve.resolve` reads a definition, `build.make` makes the SAE."""
