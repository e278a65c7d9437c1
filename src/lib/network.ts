import { BlockList, isIPv4, isIPv6 } from 'node:net';

/** What of an address is its network's, where nobody says otherwise: a usual office or pod network. */
const IPV4_OCTETS = 3;
const IPV6_GROUPS = 4;

/** The network around an address, in CIDR notation: `10.2.7.0/24`, `fd00:0:0:1::/64`. Undefined: it is no address. */
export function networkAround(address: string): string | undefined {
  if (isIPv4(address)) return `${address.split('.').slice(0, IPV4_OCTETS).join('.')}.0/24`;
  if (!isIPv6(address)) return undefined;
  return `${ipv6Groups(address).slice(0, IPV6_GROUPS).join(':')}::/64`;
}

/** The first groups of an address as they are written, `::` spelt out. */
function ipv6Groups(address: string): string[] {
  const [head = '', tail] = address.toLowerCase().replace(/%.*$/, '').split('::');
  const before = head === '' ? [] : head.split(':');
  if (tail === undefined) return before;
  const after = tail === '' ? [] : tail.split(':');
  // The IPv4 form at the end of an address takes the place of two groups.
  const written = before.length + after.length + (address.includes('.') ? 1 : 0);
  return [...before, ...Array.from({ length: 8 - written }, () => '0'), ...after];
}

/** A test whether a network has addresses in common with `cidr`: one of two networks that do holds the other. */
export function networkOverlap(cidr: string): (other: string) => boolean {
  const holds = (list: BlockList, network: string): boolean => {
    const { address, family } = partsOf(network);
    return list.check(address, family);
  };
  const own = listOf(cidr);
  return (other) => holds(own, other) || holds(listOf(other), cidr);
}

function listOf(cidr: string): BlockList {
  const { address, prefix, family } = partsOf(cidr);
  const list = new BlockList();
  list.addSubnet(address, prefix, family);
  return list;
}

function partsOf(cidr: string) {
  const [address = '', prefix = ''] = cidr.split('/');
  return { address, prefix: Number(prefix), family: isIPv6(address) ? ('ipv6' as const) : ('ipv4' as const) };
}
