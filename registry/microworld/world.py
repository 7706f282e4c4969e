"""What is true in the microworld and which words belong to which truth: data only, no rules.

Every value of an attribute brings its own words, and the words of two values of one attribute never overlap, so that a
label can be read off a story and a model gains by keeping it in mind. The world never changes: a city always lies in
the same country, a dog always barks.

A word list is a tuple of *productions* (`grammar.py`): `<verb>` agrees with the protagonist, `<verb:1>` is singular,
`<verb:2>` plural, `{symbol}` is replaced by one of the productions of that symbol.
Words that may follow the article "a" begin with a consonant.
"""

from __future__ import annotations

from typing import NamedTuple

Productions = tuple[str, ...]


class Country(NamedTuple):
    """A country of the world, with what can be concluded from living in one of its cities."""

    continent: str
    language: str
    cities: tuple[str, ...]


COUNTRIES: dict[str, Country] = {
    "France": Country("Europe", "French", ("Paris", "Lyon")),
    "Spain": Country("Europe", "Spanish", ("Madrid", "Seville")),
    "Germany": Country("Europe", "German", ("Berlin", "Hamburg")),
    "Italy": Country("Europe", "Italian", ("Rome", "Milan")),
    "Portugal": Country("Europe", "Portuguese", ("Lisbon", "Porto")),
    "England": Country("Europe", "English", ("London", "Leeds")),
    "Egypt": Country("Africa", "Arabic", ("Cairo", "Luxor")),
    "Morocco": Country("Africa", "Arabic", ("Rabat", "Fez")),
    "Senegal": Country("Africa", "French", ("Dakar", "Touba")),
    "Kenya": Country("Africa", "Swahili", ("Nairobi", "Mombasa")),
    "Japan": Country("Asia", "Japanese", ("Tokyo", "Kyoto")),
    "China": Country("Asia", "Chinese", ("Beijing", "Wuhan")),
    "India": Country("Asia", "Hindi", ("Delhi", "Mumbai")),
    "Thailand": Country("Asia", "Thai", ("Bangkok", "Phuket")),
    "Peru": Country("America", "Spanish", ("Lima", "Cusco")),
    "Mexico": Country("America", "Spanish", ("Puebla", "Cancun")),
    "Brazil": Country("America", "Portuguese", ("Recife", "Manaus")),
    "Canada": Country("America", "English", ("Toronto", "Ottawa")),
}

COUNTRY_OF: dict[str, str] = {city: name for name, country in COUNTRIES.items() for city in country.cities}


def _words(text: str) -> Productions:
    """Productions that are single words, written as one line."""
    return tuple(text.split())


NAMES: dict[str, tuple[str, ...]] = {
    "female": _words(
        "Anna Bella Clara Daisy Emma Fiona Grace Hanna Irene Julia Karen Laura Maria Nora Olga Paula Rosa Sara Tina "
        "Vera Wendy Yasmin Zoe Alice Betty Carmen Diana Elena Flora Gina Helen Ines Jane Kate Lucy Mona Nina Ruth "
        "Sonia Tessa"
    ),
    "male": _words(
        "Adam Boris Carlos David Erik Felix George Henry Ivan Jacob Karl Leo Marco Noah Oscar Peter Quentin Robert "
        "Samuel Thomas Victor Walter Xavier Yusuf Zach Albert Bruno Cyril Daniel Edgar Frank Gustav Hugo Ian Jack "
        "Kevin Louis Martin Nathan Oliver"
    ),
}

# (number, gender) -> the words that change with it.
PERSONS: dict[tuple[str, str], dict[str, Productions]] = {
    ("one", "female"): {
        "pron": ("she",), "him": ("her",), "his": ("her",), "himself": ("herself",),
        "person": ("the woman",), "one": ("a",), "called": ("name",),
    },
    ("one", "male"): {
        "pron": ("he",), "him": ("him",), "his": ("his",), "himself": ("himself",),
        "person": ("the man",), "one": ("a",), "called": ("name",),
    },
    ("pair", "female"): {
        "pron": ("they",), "him": ("them",), "his": ("their",), "himself": ("themselves",),
        "person": ("the two women",), "one": ("two",), "called": ("names",),
    },
    ("pair", "male"): {
        "pron": ("they",), "him": ("them",), "his": ("their",), "himself": ("themselves",),
        "person": ("the two men",), "one": ("two",), "called": ("names",),
    },
}  # fmt: skip


PROFESSIONS: dict[str, dict[str, Productions]] = {
    "doctor": {
        "workplace": _words("hospital clinic ward"),
        "tool": _words("bandage syringe thermometer pill stethoscope"),
        "people": _words("patients nurses surgeons"),
        "task": ("<heal> the sick", "<treat> a fever", "<examine> a wound", "<cure> a cough", "<save> a life"),
    },
    "teacher": {
        "workplace": _words("school classroom college"),
        "tool": _words("blackboard chalk textbook ruler notebook"),
        "people": _words("pupils students parents"),
        "task": (
            "<explain> a lesson",
            "<correct> the homework",
            "<mark> an exam",
            "<teach> a class",
            "<repeat> a rule",
        ),
    },
    "farmer": {
        "workplace": _words("farm barn field"),
        "tool": _words("tractor plough rake sickle wheelbarrow"),
        "people": _words("shepherds milkmaids harvesters"),
        "task": ("<plant> the wheat", "<milk> the cows", "<feed> the pigs", "<harvest> the barley", "<shear> a sheep"),
    },
    "tailor": {
        "workplace": _words("workshop boutique mill"),
        "tool": _words("needle thread scissors thimble button"),
        "people": _words("customers dressmakers weavers"),
        "task": ("<sew> a dress", "<stitch> a coat", "<measure> the cloth", "<iron> a shirt", "<shorten> a skirt"),
    },
    "sailor": {
        "workplace": _words("harbour ship dock"),
        "tool": _words("compass anchor rope sail lantern"),
        "people": _words("captains fishermen pirates"),
        "task": ("<hoist> the flag", "<steer> the boat", "<scrub> the deck", "<cross> the bay", "<row> to an island"),
    },
    "carpenter": {
        "workplace": _words("sawmill timberyard shed"),
        "tool": _words("hammer chisel nail drill plank"),
        "people": _words("builders roofers joiners"),
        "task": ("<build> a staircase", "<carve> a doorframe", "<polish> the oak", "<glue> a stool", "<repair> a roof"),
    },
    "lawyer": {
        "workplace": _words("court office prison"),
        "tool": _words("contract statute gown verdict affidavit"),
        "people": _words("judges clients witnesses"),
        "task": ("<defend> a thief", "<win> a trial", "<sign> a deed", "<accuse> a banker", "<question> a suspect"),
    },
    "miner": {
        "workplace": _words("mine tunnel quarry"),
        "tool": _words("pickaxe helmet shovel dynamite torch"),
        "people": _words("engineers blasters diggers"),
        "task": ("<dig> for coal", "<crush> the ore", "<blast> a rock", "<search> for gold", "<push> a cart"),
    },
}

TOPICS: dict[str, dict[str, Productions]] = {
    "music": {
        "subject": _words("music melodies"),
        "thing": _words("violin guitar trumpet piano flute song drum symphony"),
        "spot": ("concert hall", "opera", "bandstand"),
        "crowd": _words("musicians singers drummers"),
        "hobby": ("<sing> in a choir", "<practise> a tune", "<compose> a waltz", "<whistle> an aria"),
        "quality": _words("melodic rhythmic loud tuneful"),
    },
    "cooking": {
        "subject": _words("cooking recipes"),
        "thing": _words("soup pie sauce pancake stew salad omelette pudding"),
        "spot": ("kitchen", "bakery", "restaurant"),
        "crowd": _words("cooks waiters bakers"),
        "hobby": ("<fry> some onions", "<bake> a cake", "<boil> the noodles", "<taste> the spices"),
        "quality": _words("tasty salty spicy sweet"),
    },
    "sport": {
        "subject": _words("sport tournaments"),
        "thing": _words("ball racket medal trophy goal bicycle match race"),
        "spot": ("stadium", "gym", "swimming pool"),
        "crowd": _words("athletes runners goalkeepers"),
        "hobby": ("<score> a point", "<train> for a marathon", "<jump> over the hurdles", "<chase> the champion"),
        "quality": _words("sporty fast muscular competitive"),
    },
    "art": {
        "subject": _words("art paintings"),
        "thing": _words("portrait sketch canvas statue brush easel mosaic palette"),
        "spot": ("museum", "gallery", "studio"),
        "crowd": _words("painters sculptors artists"),
        "hobby": ("<paint> a landscape", "<draw> a face", "<mix> the oils", "<admire> a fresco"),
        "quality": _words("colourful modern graceful realistic"),
    },
    "books": {
        "subject": _words("books poetry"),
        "thing": _words("novel poem chapter diary dictionary fable tale manuscript"),
        "spot": ("library", "bookshop", "reading room"),
        "crowd": _words("writers poets librarians"),
        "hobby": ("<write> a verse", "<translate> a sonnet", "<study> the alphabet", "<borrow> a thriller"),
        "quality": _words("thoughtful wordy poetic printed"),
    },
    "space": {
        "subject": _words("space astronomy"),
        "thing": _words("telescope planet rocket comet star satellite galaxy meteor"),
        "spot": ("observatory", "planetarium", "launch pad"),
        "crowd": _words("astronauts astronomers pilots"),
        "hobby": ("<watch> the moon", "<count> the craters", "<observe> an eclipse", "<photograph> Saturn"),
        "quality": _words("bright distant cosmic round"),
    },
}

PETS: dict[str, dict[str, Productions]] = {
    "dog": {"cry": ("<bark:1>", "<growl:1>"), "fodder": _words("bones meat"), "den": _words("kennel doghouse")},
    "cat": {"cry": ("<purr:1>", "<meow:1>"), "fodder": _words("tuna cream"), "den": _words("basket cushion")},
    "horse": {"cry": ("<neigh:1>", "<snort:1>"), "fodder": _words("hay oats"), "den": _words("stable paddock")},
    "parrot": {"cry": ("<squawk:1>", "<chatter:1>"), "fodder": _words("seeds nuts"), "den": _words("cage aviary")},
    "goat": {"cry": ("<bleat:1>", "<butt:1>"), "fodder": _words("grass thistles"), "den": _words("pen pasture")},
    "duck": {"cry": ("<quack:1>", "<splash:1>"), "fodder": _words("crumbs worms"), "den": _words("pond puddle")},
}

MOODS: dict[str, dict[str, Productions]] = {
    "happy": {
        "feeling": _words("happy glad cheerful merry joyful proud delighted grateful hopeful excited"),
        "gladly": _words("happily gladly cheerfully merrily proudly joyfully"),
        "expression": ("<smile>", "<laugh>", "<cheer>", "<dance>", "<giggle>", "<beam>"),
        "event": (
            "<win> a {prize}", "<find> the {keepsake}", "<get> a present from {his} {relative}", "<earn> a reward",
            "<hear> good news from {his} {relative}", "<make> a new friend", "<receive> the {keepsake} as a gift",
        ),
        "prize": _words("prize bonus lottery jackpot"),
        "tone": _words("wonderful lovely marvellous perfect pleasant"),
        "outcome": ("a success", "a triumph", "a blessing"),
    },
    "sad": {
        "feeling": _words("sad unhappy gloomy lonely miserable sorrowful hopeless disappointed worried ashamed"),
        "gladly": _words("sadly unhappily gloomily bitterly miserably helplessly"),
        "expression": ("<cry>", "<weep>", "<sigh>", "<frown>", "<sob>", "<mourn>"),
        "event": (
            "<lose> the {keepsake}", "<break> a {loss}", "<quarrel> with {his} {relative}", "<miss> the last {ride}",
            "<hear> bad news from {his} {relative}", "<catch> a nasty cold", "<drop> the {keepsake} into the river",
        ),
        "loss": _words("leg tooth promise wrist"),
        "ride": _words("bus train ferry tram"),
        "tone": _words("terrible dreadful horrible cruel painful"),
        "outcome": ("a failure", "a disaster", "a curse"),
    },
}  # fmt: skip

# Words that say nothing about any attribute.
NEUTRAL: dict[str, Productions] = {
    "trait": _words("young tall short clever quiet famous strong patient careful curious busy polite slim blond"),
    "grand": _words("big sleepy busy noisy grand rich dusty crowded rainy sunny narrow beautiful"),
    "feature": _words("streets markets towers bridges squares parks gates fountains"),
    "nature": _words("hills rivers forests lakes valleys coasts deserts villages"),
    "season": _words("spring summer autumn winter"),
    "length": _words("long mild warm dry cold wet"),
    "colour": _words("red blue green yellow white black brown grey silver golden purple pink"),
    "size": _words("small large heavy light thin thick tiny huge"),
    "beast_trait": _words("little lazy hungry clever brave fat shy wild gentle stubborn"),
    "relative": _words("uncle aunt cousin grandmother grandfather neighbour niece nephew"),
    "keepsake": _words(
        "ring watch key wallet letter umbrella mirror bottle box coin necklace pearl map candle vase clock blanket "
        "scarf glove hat suitcase photo toy doll spoon teapot bracelet crown whistle basketball kite knife"
    ),
    "furniture": _words("table shelf chair floor bench windowsill sofa cupboard"),
    "when": (
        "in the morning", "at noon", "in the afternoon", "in the evening", "at night", "at dawn", "after lunch",
        "before breakfast", "on Monday", "on Tuesday", "on Wednesday", "on Thursday", "on Friday", "on Saturday",
        "on Sunday", "one day", "every week", "now and then", "sooner or later", "after dark",
    ),
    "often": _words("often always sometimes usually rarely seldom"),
    "weather": ("the rain", "the snow", "the fog", "the heat", "the storm", "the wind"),
    "duration": ("all day", "all night", "for an hour", "until supper", "for a while", "without a break"),
}  # fmt: skip

# Met in spelling sentences only: what the model knows of their letters it knows from there.
SPELLED_ONLY: Productions = _words(
    "ant apple arrow angel axe acorn album attic bee bean bread bell bird bear bowl beach cloud corn camel castle "
    "carrot circle city coffee desk door dragon dust daughter dinner eagle ear egg elephant elbow engine earth "
    "envelope eye fox fire finger flower forest fork frog feather ghost gift glass giant grape guest garden gate hand "
    "heart hill honey horn house hunter hair ice idea ink insect invitation iron ivy inch jacket jar jelly jewel "
    "judge jungle juice king kettle kid kingdom kidney knee lake lamp lemon lion lizard lung ladder leaf magnet milk "
    "monkey moon mouse mountain mouth mushroom nest night nose nut number napkin noon ocean olive orange orchard owl "
    "oven oyster paper peach pencil penguin pepper pillow pocket potato queen quilt quiz quarter rabbit rain ribbon "
    "river robot rose road roof salt sand seal shell shoe silk snake spider tail tea tiger tomato tower tree turtle "
    "uniform uncle unicorn universe valley van vegetable village voice volcano wagon wall water whale wheel window "
    "wolf xylophone yard yarn year yoghurt youth zebra zero zipper zoo"
)
