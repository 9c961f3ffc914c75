"""List the encoders and where their weights are; fetch and check the weights of one."""

import argparse

from echobank.cli.progress import bar
from echobank.errors import EXIT_OK
from echobank.models.registry import find_card, find_weights
from echobank.models.weights.cards import CARDS
from echobank.models.weights.weights_cache import cache_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank weights`."""
    parser.add_argument("encoder", nargs="?", help="fetch and check the weights of this one")
    parser.add_argument("--cache", metavar="DIR", help="folder of downloaded weights (weights.cache)")


def run(args: argparse.Namespace) -> int:
    """List the cards, or fetch one."""
    if args.encoder:
        card = find_card(args.encoder)
        _, _, path = find_weights(card.name, cache=args.cache, progress=bar)
        print(f"{card.name}: {path or 'needs no weights'}")
        return EXIT_OK
    folder = cache_folder(args.cache)
    width = max(len(name) for name in CARDS)
    for card in CARDS.values():
        state = "needs no weights" if not card.file else "here" if (folder / card.file).is_file() else "not fetched"
        known = f"  ({', '.join(card.aliases)})" if card.aliases else ""
        print(f"{card.name:<{width}}  {state:<16}  {card.bytes / 1e6:6.1f} MB  {card.licence}{known}")
    print(f"weights are kept in {folder}; `echobank weights NAME` fetches one")
    return EXIT_OK
