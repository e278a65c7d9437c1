import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { isIPv4, isIPv6 } from 'node:net';
import { blockListOf, ipBytes } from '../../lib/networks.ts';

/**
 * The kind of an address:
 * - `metadata`: the service of a cloud that gives credentials to any program on a machine
 * - `reserved`: addresses that no server can have (unspecified, multicast, documentation, class E)
 */
export type AddressKind = 'public' | 'private' | 'loopback' | 'link-local' | 'metadata' | 'reserved';

/** IANA's special-purpose address registries (RFC 6890); the first kind that holds an address counts. */
const NETWORKS: readonly (readonly [kind: AddressKind, networks: readonly string[]])[] = [
  // EC2 and most others, its IPv6 form, ECS tasks, EKS pods in both families, Google by IPv6, Azure, Alibaba, Oracle.
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

const LISTS = NETWORKS.map(([kind, networks]) => ({ kind, list: blockListOf(networks) }));

/** The kind of an IPv4 or IPv6 address; of an IPv6 address that holds an IPv4 one, the kind of that. */
export function addressKind(address: string): AddressKind {
  const plain = embeddedIPv4(address) ?? address;
  const family = isIPv6(plain) ? 'ipv6' : 'ipv4';
  return LISTS.find(({ list }) => list.check(plain, family))?.kind ?? 'public';
}

/** A test whether an address is in one of `networks` (CIDR notation). */
export function networkTest(networks: readonly string[]): (address: string) => boolean {
  const list = blockListOf(networks);
  return (address) => {
    const plain = embeddedIPv4(address) ?? address;
    return list.check(plain, isIPv6(plain) ? 'ipv6' : 'ipv4');
  };
}

/** The address in the host of a URL, without brackets; undefined if the host is a name. */
export function literalAddress(hostname: string): string | undefined {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIPv4(bare) || isIPv6(bare) ? bare : undefined;
}

/** The first 96 bits of addresses that hold an IPv4 address, in hex. */
const MAPPED = `${'0'.repeat(20)}ffff`;
const TRANSLATED = `0064ff9b${'0'.repeat(16)}`;
const COMPATIBLE = '0'.repeat(24);

/**
 * The IPv4 address in a mapped (`::ffff:0:0/96`), compatible (`::/96`), translated (NAT64, `64:ff9b::/96`) or 6to4
 * (`2002::/16`) address. Each of these could hide a private address from a check of the text.
 */
function embeddedIPv4(address: string): string | undefined {
  const bytes = isIPv6(address) ? ipBytes(address) : undefined;
  if (bytes === undefined) return undefined;
  const top = bytes.toString('hex', 0, 12);
  if (top === MAPPED || top === TRANSLATED) return quad(bytes, 12);
  if (top === COMPATIBLE && bytes.readUInt16BE(12) > 0) return quad(bytes, 12);
  return bytes.readUInt16BE(0) === 0x2002 ? quad(bytes, 2) : undefined;
}

function quad(bytes: Buffer, start: number): string {
  return bytes.subarray(start, start + 4).join('.');
}

/** Resolves a name to all its addresses (node:dns, `lookup`). */
export type Resolve = (
  hostname: string,
  options: LookupOptions & { readonly all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export interface DialGuardOptions {
  /** The configured URL of the registry: it is dialled wherever it is. */
  readonly registry: URL;
  /** Networks that redirects and token services may also lead to, in CIDR notation. */
  readonly networks: readonly string[];
  readonly resolve?: Resolve | undefined;
}

/** The registry named a server at an address that redirects may not lead to. */
export class ForbiddenAddressError extends Error {
  override readonly name = 'ForbiddenAddressError';
  readonly code = 'ERR_FORBIDDEN_ADDRESS';
}

const KIND_NAMES: Readonly<Record<AddressKind, string>> = {
  public: 'public',
  private: 'private',
  loopback: 'loopback',
  'link-local': 'link-local',
  metadata: 'cloud metadata',
  reserved: 'reserved',
};

/**
 * Allows redirects and token services at public addresses, and at addresses of the registry's own kind. A registry in
 * a private network may keep its blobs there; one on the internet may not lead into that network. Addresses are
 * checked when a connection is made, so that a name that resolves differently later gains nothing.
 */
export class DialGuard {
  readonly #registry: string;
  readonly #resolve: Resolve;
  readonly #isNamed: (address: string) => boolean;
  /** The kind of the registry's address when it was first reached. Later resolutions widen nothing. */
  #home: AddressKind | undefined;

  constructor({ registry, networks, resolve = systemLookup }: DialGuardOptions) {
    this.#registry = registry.host;
    this.#resolve = resolve;
    this.#isNamed = networkTest(networks);
    const literal = literalAddress(registry.hostname);
    if (literal !== undefined) this.#home = addressKind(literal);
  }

  /** Why `url` may not be asked, not even by a proxy: its host is a forbidden address. */
  refusal(url: URL): ForbiddenAddressError | undefined {
    const literal = literalAddress(url.hostname);
    if (literal === undefined || url.host === this.#registry || this.#mayDial(literal)) return undefined;
    return forbidden(url.host, literal);
  }

  /**
   * The addresses at which the host of `url` may be dialled. Connect to these, not to the name. Throws
   * ForbiddenAddressError, or the error of the system's resolver.
   */
  async addressesOf(url: URL): Promise<readonly LookupAddress[]> {
    const literal = literalAddress(url.hostname);
    const all = literal === undefined ? await this.resolve(url.hostname) : [addressOf(literal)];
    if (url.host === this.#registry) return all;
    const allowed = all.filter(({ address }) => this.#mayDial(address));
    if (allowed.length === 0) throw forbidden(url.host, all[0]?.address ?? '::');
    return allowed;
  }

  /** All addresses of a name. Throws the error of the system's resolver. */
  resolve(hostname: string): Promise<readonly LookupAddress[]> {
    return new Promise((resolve, reject) => {
      this.#resolve(hostname, { all: true }, (error, addresses) => {
        if (error === null) resolve(addresses);
        else reject(error);
      });
    });
  }

  /** Call when the host of `url` was reached at `address`. */
  reached(url: URL, address: string): void {
    if (url.host === this.#registry) this.#home ??= addressKind(address);
  }

  #mayDial(address: string): boolean {
    const kind = addressKind(address);
    if (kind === 'public' || this.#isNamed(address)) return true;
    return kind === this.#home && kind !== 'metadata' && kind !== 'reserved';
  }
}

function addressOf(literal: string): LookupAddress {
  return { address: literal, family: isIPv6(literal) ? 6 : 4 };
}

function forbidden(host: string, address: string): ForbiddenAddressError {
  const kind = KIND_NAMES[addressKind(address)];
  return new ForbiddenAddressError(`${host} is not dialled, because it is at a ${kind} address`);
}
