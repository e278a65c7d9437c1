import { BlockList, isIPv4, isIPv6 } from 'node:net';

/** The prefix of a typical office or pod network, for addresses without a configured one. */
const IPV4_OCTETS = 3;
const IPV6_GROUPS = 4;

/** The network around an address, in CIDR notation: `10.2.7.0/24`, `fd00:0:0:1::/64`. Undefined: not an address. */
export function networkAround(address: string): string | undefined {
  if (isIPv4(address)) return `${address.split('.').slice(0, IPV4_OCTETS).join('.')}.0/24`;
  if (!isIPv6(address)) return undefined;
  return `${groupsOf(address.toLowerCase()).slice(0, IPV6_GROUPS).join(':')}::/64`;
}

/** A test whether a network overlaps `cidr`. Of two networks that overlap, one holds the other. */
export function networkOverlap(cidr: string): (other: string) => boolean {
  const holds = (list: BlockList, network: string): boolean => {
    const { address, family } = partsOf(network);
    return list.check(address, family);
  };
  const own = blockListOf([cidr]);
  return (other) => holds(own, other) || holds(blockListOf([other]), cidr);
}

/** The addresses of `networks` (CIDR notation). */
export function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const { address, prefix, family } = partsOf(network);
    list.addSubnet(address, prefix, family);
  }
  return list;
}

function partsOf(cidr: string) {
  const [address = '', prefix = ''] = cidr.split('/');
  return { address, prefix: Number(prefix), family: isIPv6(address) ? ('ipv6' as const) : ('ipv4' as const) };
}

/** The 4 or 16 bytes of an IP address; undefined if `text` is not an address. */
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

/** The number of leading bits that all addresses of a network share. */
export interface PrefixBits {
  readonly v4: number;
  readonly v6: number;
}

/** A key that all addresses of a network share, and no other network has; `text` itself if it is not an address. */
export function networkPrefix(text: string, bits: PrefixBits): string {
  const bytes = ipBytes(text);
  if (bytes === undefined) return text;
  const spare = bytes.length * 8 - (bytes.length === 4 ? bits.v4 : bits.v6);
  return `${bytes.length} ${BigInt(`0x${bytes.toString('hex')}`) >> BigInt(spare)}`;
}
