import { BlockList, isIPv4, isIPv6 } from 'node:net';

/**
 * Where an address leads:
 * - `metadata`: the service of a cloud that hands out credentials to whoever asks from inside a machine
 * - `reserved`: nowhere that a server could be (unspecified, multicast, documentation, class E)
 */
export type AddressKind = 'public' | 'private' | 'loopback' | 'link-local' | 'metadata' | 'reserved';

/** IANA's special-purpose address registries (RFC 6890); the first kind that holds an address counts. */
const NETWORKS: readonly (readonly [kind: AddressKind, networks: readonly string[]])[] = [
  // EC2 and most others, its IPv6 twin, ECS tasks, EKS pods in both families, Google by IPv6, Azure, Alibaba, Oracle.
  [
    'metadata',
    [
      '169.254.169.254/32',
      'fd00:ec2::254/128',
      '169.254.170.2/32',
      '169.254.170.23/32',
      'fd00:ec2::23/128',
      'fd20:ce::254/128',
      '168.63.129.16/32',
      '100.100.100.200/32',
      '192.0.0.192/32',
    ],
  ],
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['link-local', ['169.254.0.0/16', 'fe80::/10']],
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7', 'fec0::/10']],
  [
    'reserved',
    [
      '0.0.0.0/8',
      '192.0.0.0/24',
      '192.0.2.0/24',
      '192.88.99.0/24',
      '198.18.0.0/15',
      '198.51.100.0/24',
      '203.0.113.0/24',
      '224.0.0.0/3',
      '::/128',
      '64:ff9b:1::/48',
      '100::/64',
      '2001:db8::/32',
      'ff00::/8',
    ],
  ],
];

const LISTS = NETWORKS.map(([kind, networks]) => ({ kind, list: blockList(networks) }));

/** The kind of an IPv4 or IPv6 address; of an IPv6 one that stands for an IPv4 one, the kind of that. */
export function addressKind(address: string): AddressKind {
  const plain = embeddedIPv4(address) ?? address;
  const family = isIPv6(plain) ? 'ipv6' : 'ipv4';
  return LISTS.find(({ list }) => list.check(plain, family))?.kind ?? 'public';
}

/** Whether `address` is in one of `networks` (CIDR notation). */
export function networkTest(networks: readonly string[]): (address: string) => boolean {
  const list = blockList(networks);
  return (address) => {
    const plain = embeddedIPv4(address) ?? address;
    return list.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4');
  };
}

/** The address that the host of a URL spells, without brackets, or undefined if it is a name. */
export function literalAddress(hostname: string): string | undefined {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIPv4(bare) || isIPv6(bare) ? bare : undefined;
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix = ''] = network.split('/');
    list.addSubnet(address, Number(prefix), isIPv6(address) ? 'ipv6' : 'ipv4');
  }
  return list;
}

/**
 * The IPv4 address behind a mapped (`::ffff:0:0/96`), compatible (`::/96`), translated (NAT64, `64:ff9b::/96`) or 6to4
 * (`2002::/16`) one: all of them can be a way around a look at the text.
 */
function embeddedIPv4(address: string): string | undefined {
  if (!isIPv6(address)) return undefined;
  const groups = groupsOf(address);
  const top = groups
    .slice(0, 6)
    .map((group) => group.toString(16))
    .join(':');
  if (top === '0:0:0:0:0:ffff' || top === '64:ff9b:0:0:0:0') return quad(groups[6], groups[7]);
  if (top === '0:0:0:0:0:0' && (groups[6] ?? 0) > 0) return quad(groups[6], groups[7]);
  return groups[0] === 0x2002 ? quad(groups[1], groups[2]) : undefined;
}

/** The eight groups of a valid IPv6 address; a zone (`%eth0`) is left out. */
function groupsOf(address: string): number[] {
  // The URL parser writes the last two groups as numbers even where they are spelt as an IPv4 address.
  const { hostname } = new URL(`http://[${address.replace(/%.*$/, '')}]`);
  const [head = '', tail] = hostname.slice(1, -1).split('::');
  const first = numbersOf(head);
  const last = tail === undefined ? [] : numbersOf(tail);
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last];
}

function numbersOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

function quad(high = 0, low = 0): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
