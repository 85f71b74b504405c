"""Files of a manual become lines, or say why they cannot."""

from __future__ import annotations

import io

import pypdf
import pytest

from edge_node.errors import DocumentUnreadable
from edge_node.knowledge import documents
from edge_node.knowledge.documents import document
from edge_node.knowledge.values import Kind


def _pdf(*pages: str) -> bytes:
    """Return a PDF with one line of text for each line of each page."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>"]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, text in enumerate(pages):
        shown = " ".join(f"({line}) Tj 0 -20 Td" for line in text.split("\n"))
        stream = f"BT /F1 12 Tf 72 700 Td {shown} ET".encode()
        leaf = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R "
        objects.append((leaf + "/Resources << /Font << /F1 3 0 R >> >> >>").encode())
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    body, offsets = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    trailer = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + trailer


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_an_editor_counts_them(ending: str) -> None:
    read = document(ending.join(["# Pump", "", "Stop at\x0b90", "last\u2028line"]).encode(), file="a.md")

    assert read.pages[0].lines == ("# Pump", "", "Stop at\x0b90", "last\u2028line")


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    assert document(b"\xef\xbb\xbfPump", file="a.txt").pages[0].lines == ("Pump",)
    assert document("Pumpe läuft".encode("utf-16"), file="a.txt").pages[0].lines == ("Pumpe läuft",)


def test_text_of_old_windows_is_read_and_said_to_be_so() -> None:
    read = document("Lager über 85 °C".encode("cp1252"), file="a.txt")

    assert read.pages[0].lines == ("Lager über 85 °C",)
    assert "Windows-1252" in read.note
    assert "offset 6" in read.note


@pytest.mark.parametrize(
    ("file", "data", "came"),
    [
        ("a.md", b"", "an empty file"),
        ("a.md", b" \n\n\t\n", "an empty file"),
        ("a.md", b"\x7fELF\0\0\1", "a binary file"),
        ("a.txt", b"\x81\x8d\x8f", "byte 0x81 at offset 0"),
        ("a.txt", b"\xff\xfe\x00", "truncated data"),
        ("a.exe", b"MZ", ".exe"),
        ("README", b"words", "no suffix"),
        ("a.pdf", b"%PDF-1.4\n1 0 obj", "a damaged one"),
        ("a.pdf", b"no pdf at all", "a damaged one"),
        ("a.pdf", b"", "a damaged one"),
    ],
)
def test_what_cannot_be_read_says_what_came(file: str, data: bytes, came: str) -> None:
    with pytest.raises(DocumentUnreadable, match=came):
        document(data, file=file)


def test_a_file_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LIMIT_BYTES", 10)

    with pytest.raises(DocumentUnreadable, match="at most"):
        document(b"eleven bytes", file="a.txt")


def test_a_pdf_has_pages_and_lines_within_the_page() -> None:
    read = document(_pdf("SAFETY\nStop the pump first.", "Bearing\nAt most 85 C."), file="manual/pump.pdf")

    assert [page.number for page in read.pages] == [1, 2]
    assert [line for line in read.pages[1].lines if line] == ["Bearing", "At most 85 C."]


def test_half_a_pdf_never_ends_in_another_error() -> None:
    whole = _pdf("SAFETY\nStop the pump first.", "Bearing\nAt most 85 C.")
    for end in range(0, len(whole), 37):
        try:
            document(whole[:end], file="half.pdf")
        except DocumentUnreadable as problem:
            assert "half.pdf" in str(problem)  # noqa: PT017 - some halves can still be read


def test_a_pdf_without_text_is_taken_for_a_scan() -> None:
    with pytest.raises(DocumentUnreadable, match="scan"):
        document(_pdf(""), file="scan.pdf")


def test_a_pdf_with_a_password_is_refused() -> None:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(_pdf("Stop the pump first.")))
    writer.encrypt("swordfish", algorithm="RC4-128")
    locked = io.BytesIO()
    writer.write(locked)

    with pytest.raises(DocumentUnreadable, match="without a password"):
        document(locked.getvalue(), file="locked.pdf")


def test_lines_of_html_are_those_of_its_source() -> None:
    source = (
        "<!DOCTYPE html>\n<html><head><title>Pump 3</title>\n<style>p {color: red}</style></head>\n"
        "<body>\n<h2\n class='x'>Bearing &amp; seal</h2>\n<p>At most\n<b>85&nbsp;&deg;C</b>.</p>\n"
        "<script>if (a < b) { alert('x') }\n</script>\n<ul>\n<li>Oil</li>\n<li>Grease</li></ul>\n"
        "<table><tr><td>speed</td><td>40</td></tr></table>\n<pre>\n  set  1\n</pre></body></html>"
    )
    page = document(source.encode(), file="a.html").pages[0]

    assert len(page.lines) == source.count("\n") + 1
    assert {line: text for line, text in enumerate(page.lines, start=1) if text} == {
        2: "Pump 3",
        6: "Bearing & seal",
        7: "At most",
        8: "85 °C.",
        12: "- Oil",
        13: "- Grease",
        14: "| speed | 40",
        16: "  set  1",
    }
    titles = [(block.level, block.title) for block in page.blocks if block.kind is Kind.HEADING]
    assert titles == [(0, "Pump 3"), (2, "Bearing & seal")]


@pytest.mark.parametrize(
    "source", ["<![foo bar", "<!DOCTYPE x [<!bad", "<<<>>><a <b", "&#xFFFFFFF; x", "<p" * 500]
)
def test_broken_html_is_read_or_refused_but_nothing_else(source: str) -> None:
    try:
        document(source.encode(), file="a.html")
    except DocumentUnreadable as problem:
        assert "a.html" in str(problem)  # noqa: PT017 - which of them can be read depends on the Python version
