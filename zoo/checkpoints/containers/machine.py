"""Pickles read as data.

A pickle is a program: it names functions and calls them. This machine goes through the instructions and makes plain
containers; a call becomes a `Stub` that remembers it. Python's own unpickler could be kept from calling, but not
from filling memory (a place of the memo far out, a length that is not there), nor from hashing nested tuples until
the process dies. Here every step takes time and memory of the bytes that ask for it:

- texts and numbers are as long as the bytes that are there, and the memo has as many places as are used;
- keys are text or numbers (`plain_key`), so that nothing is ever hashed or compared that has parts;
- there are at most `MAX_INSTRUCTIONS`, no step goes down into what was made before, and what is made of a container
  in a call (`set([...])`) counts against the size of the program, so that one cannot be copied over and over.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from zoo.checkpoints.containers.allowed import check_name, made, plain_key, refused
from zoo.checkpoints.containers.plain import Global, Stub, Table

MAX_INSTRUCTIONS = 1_000_000
"""The largest published file has under 100,000; of a training with its histories a few times as many."""

MAX_INTEGER = 64
"""Bytes of an integer; the seeds of random generators have 16."""

MAX_LINE = 1 << 16
"""Bytes of what old pickles end with a line feed: names and numbers."""


class PickleError(Exception):
    """A pickle that is damaged, or that no training writes."""


_MARK = object()
_COPIED = (str, list, dict, tuple)


class PickleMachine:
    """Reads one pickle after the other.

    Args:
        program: the bytes.
        persistent: makes an object of what the file says of it in its own words (`torch.save`: of storages).
        position: where the first begins.

    Attributes:
        position: the end of what was read.
    """

    def __init__(
        self, program: memoryview, *, persistent: Callable[[Any], Any] | None = None, position: int = 0
    ) -> None:
        self._program = program
        self._end = len(program)
        self._persistent = persistent
        self.position = position
        self._globals: dict[tuple[str, str], Global] = {}
        self._copied = 0

    def load(self) -> Any:
        """The object of the next pickle.

        Raises:
            UnsafePickleError: it asks for something that no training leaves in a file.
            PickleError, ValueError, TypeError, LookupError, struct.error: it is damaged.
        """
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        program, instructions = self._program, _INSTRUCTIONS
        for _ in range(MAX_INSTRUCTIONS):
            code = program[self.position]
            self.position += 1
            if code == _STOP:
                (value,) = self._stack
                return value
            run = instructions.get(code)
            if run is None:
                raise PickleError(f"instruction {bytes((code,))!r}")
            run(self)
        raise PickleError(f"more than {MAX_INSTRUCTIONS:,} instructions")

    # --- bytes ------------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """The next bytes."""
        begin = self.position
        if not 0 <= count <= self._end - begin:
            raise PickleError(f"{count:,} bytes where {self._end - begin:,} are left")
        self.position = begin + count
        return self._program[begin : self.position].tobytes()

    def byte(self) -> int:
        """The next byte."""
        value = self._program[self.position]
        self.position += 1
        return value

    def number(self, form: struct.Struct) -> Any:
        """The next number of a fixed size."""
        (value,) = form.unpack_from(self._program, self.position)
        self.position += form.size
        return value

    def line(self) -> bytes:
        """The next bytes up to a line feed."""
        begin, window = self.position, 64
        while window <= MAX_LINE:
            line, end, _ = self._program[begin : begin + window].tobytes().partition(b"\n")
            if end:
                self.position = begin + len(line) + 1
                return line
            window *= 4
        raise PickleError("a line without an end")

    # --- stack ------------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """Take a value from the stack."""
        value = self._stack.pop()
        if value is _MARK:
            raise PickleError("a mark where a value should be")
        return value

    def top(self) -> Any:
        """The value on top of the stack."""
        value = self._stack[-1]
        if value is _MARK:
            raise PickleError("a mark where a value should be")
        return value

    def pop_mark(self) -> list[Any]:
        """Take all values above the last mark, and the mark."""
        stack, at = self._stack, len(self._stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise PickleError("no mark")
        values = stack[at + 1 :]
        del stack[at:]
        return values

    def remember(self, place: int) -> None:
        """Keep the value on top in a place of the memo."""
        self._memo[place] = self.top()

    def recall(self, place: int) -> None:
        """Put a value of the memo on the stack."""
        self._stack.append(self._memo[place])

    def remember_next(self) -> None:
        """Keep the value on top in the next place of the memo."""
        self._memo[len(self._memo)] = self.top()

    # --- objects ----------------------------------------------------------------------------------

    def find(self, module: Any, name: Any) -> Global:
        """The class or function of a name."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("a name that is no text")
        key = module, name
        if key not in self._globals:
            check_name(module, name)
            self._globals[key] = Global(module, name)
        return self._globals[key]

    def call(self, callee: Any, args: Any) -> None:
        """Put what a call would have made on the stack."""
        if not isinstance(callee, Global | Stub) or not isinstance(args, tuple):
            raise PickleError(f"a call of {type(callee).__name__} with {type(args).__name__}")
        for value in args:
            if isinstance(value, _COPIED):
                self._copied += len(value)
        if self._copied > self._end:
            raise PickleError("calls that copy the same values over and over")
        self._stack.append(made(callee, args))

    def persistent_object(self, description: Any) -> None:
        """Put an object of the file's own kind on the stack."""
        if self._persistent is None:
            raise PickleError("an object that lies outside")
        self._stack.append(self._persistent(description))

    def set_items(self, items: list[Any]) -> None:
        """Put keys and values into the mapping on top."""
        target = self.top()
        if len(items) % 2:
            raise PickleError("a key without a value")
        if isinstance(target, dict):
            for at in range(0, len(items), 2):
                target[plain_key(items[at])] = items[at + 1]
        elif not isinstance(target, Stub):
            raise PickleError(f"items of {type(target).__name__}")

    def append(self, values: list[Any]) -> None:
        """Put values at the end of the list on top."""
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Stub):
            raise PickleError(f"members of {type(target).__name__}")

    def add(self, values: list[Any]) -> None:
        """Put values into the set on top."""
        target = self.top()
        if isinstance(target, set):
            target.update(plain_key(value) for value in values)
        elif not isinstance(target, Stub):
            raise PickleError(f"members of {type(target).__name__}")

    def build(self, state: Any) -> None:
        """Tell the object on top of itself."""
        target = self.top()
        if isinstance(target, Stub | Table):
            target.state = state
        elif isinstance(target, Global):
            raise refused(f"a change of {target.path}")


def _integer(machine: PickleMachine, size: int) -> int:
    if size > MAX_INTEGER:
        raise PickleError(f"a number of {size:,} bytes")
    return int.from_bytes(machine.take(size), "little", signed=True)


def _text_integer(line: bytes) -> int | bool:
    if line in (b"00", b"01"):
        return line == b"01"
    if len(line) > 2 * MAX_INTEGER:
        raise PickleError(f"a number of {len(line):,} digits")
    return int(line.removesuffix(b"L"))


def _old_text(content: bytes) -> str | bytes:
    """A str of Python 2: text in most files, and bytes in some."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content


def _quoted(line: bytes) -> str | bytes:
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[:1] != line[-1:]:
        raise PickleError("a text without quotes")
    return _old_text(codecs.escape_decode(line[1:-1])[0])


def _protocol(machine: PickleMachine) -> None:
    if machine.byte() > 5:
        raise PickleError("a protocol that is not known")


def _frame(machine: PickleMachine) -> None:
    if machine.number(_U8) > len(machine._program) - machine.position:
        raise PickleError("a frame that is cut off")


def _dict_of(machine: PickleMachine) -> None:
    items = machine.pop_mark()
    machine.push({})
    machine.set_items(items)


def _inst(machine: PickleMachine) -> None:
    args = tuple(machine.pop_mark())
    machine.call(_named(machine), args)


def _obj(machine: PickleMachine) -> None:
    callee, *args = machine.pop_mark()
    machine.call(callee, tuple(args))


def _named(machine: PickleMachine) -> Global:
    module = machine.line().decode("utf-8")
    return machine.find(module, machine.line().decode("utf-8"))


def _with_arguments(machine: PickleMachine) -> None:
    args = machine.pop()
    machine.call(machine.pop(), args)


def _with_keywords(machine: PickleMachine) -> None:
    machine.pop()  # what a stub would be told by name, it is told by its state as well
    _with_arguments(machine)


def _set_item(machine: PickleMachine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _stack_global(machine: PickleMachine) -> None:
    name, module = machine.pop(), machine.pop()
    machine.push(machine.find(module, name))


def _tuple_of(count: int) -> Callable[[PickleMachine], None]:
    def run(machine: PickleMachine) -> None:
        stack = machine._stack
        values = tuple(stack[-count:])
        if len(values) < count or _MARK in values:
            raise PickleError("a tuple of fewer values than it should have")
        stack[-count:] = [values]

    return run


def _extension(_machine: PickleMachine) -> None:
    raise refused("a number of the extension registry")


_U2, _U4, _U8 = (struct.Struct(form) for form in ("<H", "<I", "<Q"))
_I4, _DOUBLE = struct.Struct("<i"), struct.Struct(">d")
_STOP = ord(".")


def _utf8(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


_TABLE: dict[bytes, Callable[[PickleMachine], Any]] = {
    # framing
    b"\x80": _protocol,
    b"\x95": _frame,
    # stack and memo
    b"(": lambda m: m.push(_MARK),
    b"0": lambda m: m._stack.pop(),
    b"1": lambda m: m.pop_mark(),
    b"2": lambda m: m.push(m.top()),
    b"g": lambda m: m.recall(_text_integer(m.line())),
    b"h": lambda m: m.recall(m.byte()),
    b"j": lambda m: m.recall(m.number(_U4)),
    b"p": lambda m: m.remember(_text_integer(m.line())),
    b"q": lambda m: m.remember(m.byte()),
    b"r": lambda m: m.remember(m.number(_U4)),
    b"\x94": lambda m: m.remember_next(),
    # constants and numbers
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_text_integer(m.line())),
    b"L": lambda m: m.push(_text_integer(m.line())),
    b"J": lambda m: m.push(m.number(_I4)),
    b"K": lambda m: m.push(m.byte()),
    b"M": lambda m: m.push(m.number(_U2)),
    b"\x8a": lambda m: m.push(_integer(m, m.byte())),
    b"\x8b": lambda m: m.push(_integer(m, m.number(_I4))),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(m.number(_DOUBLE)),
    # text and bytes
    b"S": lambda m: m.push(_quoted(m.line())),
    b"T": lambda m: m.push(_old_text(m.take(m.number(_I4)))),
    b"U": lambda m: m.push(_old_text(m.take(m.byte()))),
    b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),
    b"X": lambda m: m.push(_utf8(m.take(m.number(_U4)))),
    b"\x8c": lambda m: m.push(_utf8(m.take(m.byte()))),
    b"\x8d": lambda m: m.push(_utf8(m.take(m.number(_U8)))),
    b"B": lambda m: m.push(m.take(m.number(_U4))),
    b"C": lambda m: m.push(m.take(m.byte())),
    b"\x8e": lambda m: m.push(m.take(m.number(_U8))),
    b"\x96": lambda m: m.push(bytearray(m.take(m.number(_U8)))),
    # containers
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.pop_mark())),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.pop_mark()),
    b"a": lambda m: m.append([m.pop()]),
    b"e": lambda m: m.append(m.pop_mark()),
    b"}": lambda m: m.push({}),
    b"d": _dict_of,
    b"s": _set_item,
    b"u": lambda m: m.set_items(m.pop_mark()),
    b"\x8f": lambda m: m.push(set()),
    b"\x90": lambda m: m.add(m.pop_mark()),
    b"\x91": lambda m: m.push({plain_key(value) for value in m.pop_mark()}),
    # names, calls and what is told afterwards
    b"c": lambda m: m.push(_named(m)),
    b"\x93": _stack_global,
    b"i": _inst,
    b"o": _obj,
    b"R": _with_arguments,
    b"\x81": _with_arguments,
    b"\x92": _with_keywords,
    b"b": lambda m: m.build(m.pop()),
    b"P": lambda m: m.persistent_object(_old_text(m.line())),
    b"Q": lambda m: m.persistent_object(m.pop()),
    b"\x82": _extension,
    b"\x83": _extension,
    b"\x84": _extension,
}
"""Instruction -> what it does here. Buffers outside of the pickle (protocol 5) are in no file."""

_INSTRUCTIONS = {code[0]: run for code, run in _TABLE.items()}
