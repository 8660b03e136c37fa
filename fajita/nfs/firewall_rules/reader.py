"""Goes through the words of a file, and says what is wrong with them."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NoReturn

from fajita import TextFileValue
from fajita.nfs.firewall_rules.tokens import END, NEWLINE, Token, tokens_of

#: Between statements.
_SEPARATORS = (NEWLINE, ";")


class Reader:
    """The words of a file, one after the other. token: the one that is next."""

    def __init__(self, file: TextFileValue) -> None:
        self.file = file
        self._tokens = list(tokens_of(file))
        self._at = 0
        self.token = self._tokens[0]

    def advance(self) -> Token:
        """Go on to the next word; the one that was next."""
        token = self.token
        self._at = min(self._at + 1, len(self._tokens) - 1)
        self.token = self._tokens[self._at]
        return token

    def at(self, *texts: str) -> bool:
        """Whether the next word is one of these; what stands in quotes is none."""
        return self.token.text in texts and self.token.kind != "string"

    def skip(self, *texts: str) -> bool:
        """Go past the next word if it is one of these."""
        if self.at(*texts):
            self.advance()
            return True
        return False

    def skip_newlines(self) -> None:
        """Go past the ends of lines."""
        while self.skip(NEWLINE):
            pass

    def skip_separators(self) -> None:
        """Go past what stands between statements."""
        while self.skip(*_SEPARATORS):
            pass

    def end_statement(self) -> None:
        """Go past the end of a statement, which has to be here."""
        if not self.at(*_SEPARATORS, END):
            self.refuse(f"{self.token.shown} stands where the statement should end", "; or a line of its own")
        self.skip_separators()

    def expect(self, text: str, what: str) -> Token:
        """The next word, which has to be this one."""
        if not self.at(text):
            self.refuse(f"{self.token.shown} stands where {what} should be", f"write {text}")
        return self.advance()

    def name(self, what: str) -> Token:
        """The next word, which has to be a name."""
        if self.token.kind != "word":
            self.refuse(f"{self.token.shown} stands where {what} should be", "letters, digits, _ and -")
        return self.advance()

    def one_of(self, what: str, known: Iterable[str]) -> Token:
        """The next word, which has to be one of these."""
        if self.token.text not in known or self.token.kind == "string":
            self.refuse_unknown(self.token, f"{self.token.shown} stands where {what} should be", known)
        return self.advance()

    def quoted(self) -> str:
        """The next word, which has to be text in quotes, without them."""
        if self.token.kind != "string":
            self.refuse(f"{self.token.shown} stands where a comment should be", 'comment "text"')
        return self.advance().text[1:-1]

    def source(self, first: Token, last: Token) -> str:
        """The text from one word to another, on one line, without comments."""
        lines = self.file.text[first.start : last.end].splitlines()
        return " ".join(" ".join(line.partition("#")[0].rstrip("\\ ").split()) for line in lines).strip()

    def refuse(self, what: str, right: str) -> NoReturn:
        """Raise the InputError for the next word."""
        self.refuse_at(self.token, what, right)

    def refuse_at(self, token: Token, what: str, right: str) -> NoReturn:
        """Raise the InputError for a word."""
        raise self.file.refuse(what, token.line, token.column, right)

    def refuse_unknown(self, token: Token, what: str, known: Iterable[str]) -> NoReturn:
        """Raise the InputError for a word that is none of those that could stand there."""
        close = get_close_matches(token.text, known, 3, 0.6)
        right = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known) or 'none'}"
        self.refuse_at(token, what, right)
