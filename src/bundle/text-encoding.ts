/**
 * The text of a file as editors write it: UTF-8, or UTF-16 with a byte order mark, which is left out (WHATWG Encoding
 * Standard, "BOM sniff"). Undefined for what holds a NUL character, as no text does.
 */
export function decodeText(bytes: Buffer): string | undefined {
  const encoding = isMarked(bytes, 0xff, 0xfe)
    ? 'utf-16le'
    : isMarked(bytes, 0xfe, 0xff)
      ? 'utf-16be'
      : 'utf-8';
  const text = new TextDecoder(encoding).decode(bytes);
  return text.includes('\0') ? undefined : text;
}

function isMarked(bytes: Buffer, first: number, second: number): boolean {
  return bytes[0] === first && bytes[1] === second;
}
