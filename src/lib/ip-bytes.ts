import { isIPv4, isIPv6 } from 'node:net';

/** The 4 or 16 bytes of an IP address; undefined if `text` is none. */
export function ipBytes(text: string): Buffer | undefined {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (!isIPv6(text)) return undefined;
  return Buffer.from(
    groupsOf(text)
      .map((group) => group.padStart(4, '0'))
      .join(''),
    'hex',
  );
}

/** The eight groups of an IPv6 address (RFC 4291, section 2.2), in hex digits. */
function groupsOf(address: string): string[] {
  const [plain = ''] = address.split('%');
  const hex = plain.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = bytes.slice(0, 4).map(Number);
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  });
  const [head = '', tail = ''] = hex.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === '' ? [] : tail.split(':');
  return [...first, ...Array<string>(8 - first.length - last.length).fill('0'), ...last];
}
