import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { isIPv6 } from 'node:net';
import { addressKind, literalAddress, networkTest, type AddressKind } from '../lib/address-kind.ts';

/** A name as the system resolves it (node:dns, `lookup` with all addresses). */
export type Resolve = (
  hostname: string,
  options: LookupOptions & { readonly all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export interface DialGuardOptions {
  /** Host and port of the registry itself, which the settings name: it is dialled wherever it is. */
  readonly registry: URL;
  /** Networks that redirects and token services may lead to all the same, in CIDR notation. */
  readonly networks: readonly string[];
  readonly resolve?: Resolve | undefined;
}

/** Somebody upstream named a server where none of its kind can be. */
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
 * Lets a registry send us to public addresses, and to those of its own kind: one in the office may keep its blobs in
 * the office, one on the internet has no business there. The addresses that a name resolves to are checked where the
 * connection is made to one of them, so that a name that resolves otherwise the second time gains nothing.
 */
export class DialGuard {
  readonly #registry: string;
  readonly #resolve: Resolve;
  readonly #isNamed: (address: string) => boolean;
  /** Where the registry was when it was first reached: what its name resolves to later widens nothing. */
  #home: AddressKind | undefined;

  constructor({ registry, networks, resolve = systemLookup }: DialGuardOptions) {
    this.#registry = registry.host;
    this.#resolve = resolve;
    this.#isNamed = networkTest(networks);
    const literal = literalAddress(registry.hostname);
    if (literal !== undefined) this.#home = addressKind(literal);
  }

  /** Why `url` may not be asked for, by a proxy neither, if it spells an address that may not be dialled. */
  refusal(url: URL): ForbiddenAddressError | undefined {
    const literal = literalAddress(url.hostname);
    if (literal === undefined || url.host === this.#registry || this.#mayDial(literal)) return undefined;
    return forbidden(url.host, literal);
  }

  /**
   * Where the host of `url` may be dialled, now: connections are made to these addresses, not to the name. Throws
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

  /** The host of `url` was reached at `address`. */
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
