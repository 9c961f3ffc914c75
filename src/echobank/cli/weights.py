"""List the encoders and where their weights are; fetch and check the weights of one."""

import argparse
from typing import Any

from echobank.cli.outputs import add_json
from echobank.cli.progress import bar
from echobank.errors import EXIT_OK
from echobank.models.registry import find_card, find_weights
from echobank.models.weights.cards import CARDS, Card
from echobank.models.weights.weights_cache import cache_folder, cached_file
from echobank.names import to_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `echobank weights`."""
    parser.add_argument("encoder", nargs="?", help="fetch and check the weights of this one")
    parser.add_argument("--cache", metavar="DIR", help="folder of downloaded weights (weights.cache)")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List the cards, or fetch one."""
    if args.encoder:
        card = find_card(args.encoder)
        _, _, path = find_weights(card.name, cache=args.cache, progress=bar)
        print(f"{card.name}: {path or 'needs no weights'}")
        return EXIT_OK
    states = {card: state_of(card, args.cache) for card in CARDS.values()}
    if args.json:
        listed = [as_plain(card, state) for card, state in states.items()]
        print(to_json({"cache": str(cache_folder(args.cache)), "encoders": listed}))
        return EXIT_OK
    width = max(len(name) for name in CARDS)
    for card, state in states.items():
        known = f"  ({', '.join(card.aliases)})" if card.aliases else ""
        print(f"{card.name:<{width}}  {state:<16}  {card.bytes / 1e6:6.1f} MB  {card.licence}{known}")
    print(f"weights are kept in {cache_folder(args.cache)}; `echobank weights NAME` fetches one")
    return EXIT_OK


def state_of(card: Card, cache: str | None) -> str:
    """Return whether the weights of a card are at hand, in words."""
    if not card.file:
        return "needs no weights"
    return "here" if cached_file(card, cache).is_file() else "not fetched"


def as_plain(card: Card, state: str) -> dict[str, Any]:
    """Return a card and the state of its weights as plain values."""
    names = ("name", "kind", "file", "bytes", "sha256", "sources", "licence", "sample_rate", "dimension", "citation")
    return {name: getattr(card, name) for name in names} | {"state": state}
