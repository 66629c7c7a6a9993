"""The words that pairing codes are made of: 512 plain nouns, any two of which differ by more than one letter."""

from __future__ import annotations

from typing import Final

_TEXT = """
abacus acorn actor admiral agent airport album alley almanac almond amber anchor angle anthem apple apricot
apron arcade archer arena armor arrow artist aspen atlas attic autumn avocado axis bacon badge bagel baker
balcony ballet balloon bamboo banana banjo banner barber barley barn barrel basil basket battery bazaar beach
beaver bedroom beehive beetle belfry berry bicycle biscuit bison blanket blossom boat bobcat bonfire border
bottle boulder bouquet branch bread breeze brick bridge broom bubble bucket buckle buffalo bugle bungalow burger
burrow butter button cabbage cabin cable cactus camel camera campus canal candle canoe canvas canyon captain
caramel carbon cardigan cargo carpet carrot cashew castle cathedral cavern cedar cello cement cereal chalk
chapel chariot cheese cherry chess chestnut chicken chimney circus citrus clarinet climate clinic clock cloud
clover coast cobalt cobbler cocoa coconut coffee collar comet compass condor copper coral corner cotton cougar
country coyote cradle crane crater crayon cricket crystal curtain cushion cutlass cyclone cymbal daffodil dagger
dahlia dairy dancer dentist derby desert diamond diesel dimple dinner dolphin domino donkey dragon drawer driver
drizzle drum dungeon eagle easel echo eclipse elbow elephant emerald engine envelope espresso fabric falcon
farmer feather fender fern ferret festival fiddle fisher fjord flamingo flannel flower flute folder forest
fossil fountain foxglove frost fruit galaxy gallery gallop garage garden garlic gazelle gecko giraffe glacier
glove goblet goggles gondola gorilla granite grape gravel guitar gymnast hammer hammock harbor harp harvest
hazel heirloom heron hibiscus hickory hockey honey hornet hotel hunter husky igloo insect iris island ivory
jackal jacket jaguar jasmine javelin jelly jewel jigsaw jungle juniper kayak kennel kettle kimono kitchen kitten
koala ladder lagoon lantern laptop lasso laurel lavender lawyer lemon lemur leopard lettuce library lily
limerick lizard llama lobster lotus lumber lynx machine magnet magpie mango manor mantle maple marble margin
marigold market meadow medal melon mercury meringue meteor mirror morning mosaic motor muffin mulberry museum
mustard napkin nebula nectar needle nickel noodle nutmeg oasis oatmeal ocean octopus office olive onion opera
orange orbit orchard orchid oregano organ ostrich otter oyster paddle palace pancake panda panther papaya paper
parade parsley pastry peanut pearl pebble pelican pencil penguin pepper piano pickle picnic pigeon pillow pilot
pine pirate pistachio planet plaster platinum platypus plaza pliers poet polka pollen pony poplar poppy porch
potato powder prairie pretzel prism pudding pumpkin puppet puzzle pyramid python quail quarry quartz quilt
quiver rabbit raccoon radar radish raft rainbow raisin rapids raven recipe record reef rhubarb ribbon robin
rocket rooster rubber ruby sailor salad salmon sandal sapphire satin saucer scarf school scooter sculptor season
shadow sheriff shovel shrimp shuttle silver singer skater sketch slipper snail soccer soldier sonnet spark
sparrow spice spider spinach spiral sponge spruce squash squirrel stable stadium stamp station statue stereo
storm studio sugar summer sunset surfer swallow swan sweater symbol tablet target teacher teapot temple tennis
theater thimble thunder ticket tiger timber tomato topaz tornado tourist tractor truffle trumpet tulip tunnel
turkey turnip turtle tuxedo umbrella uncle vanilla velvet vessel village vinegar violet violin volcano voyage
waffle wagon walnut walrus water whistle window winter wombat yogurt zebra zenith zigzag zipper
"""

WORDS: Final[tuple[str, ...]] = tuple(_TEXT.split())
