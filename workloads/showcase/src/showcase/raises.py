"""Raise an exception that another one caused."""

from showcase.pipes import open_pipes


def price_of(product: str) -> float:
    """Price of `product`; raises ValueError for a product without one."""
    prices = {"apple": 0.5, "pear": 0.7}
    try:
        return prices[product]
    except KeyError as error:
        raise ValueError(f"no price for {product!r}") from error


def main() -> None:
    with open_pipes("raises") as pipes:
        pipes.log.info("looking up a price that does not exist")
        price_of("plum")


if __name__ == "__main__":
    main()
