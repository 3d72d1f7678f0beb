"""Exit 0 without a single message."""


def main() -> None:
    print("all done, and nobody was told")


if __name__ == "__main__":
    main()
