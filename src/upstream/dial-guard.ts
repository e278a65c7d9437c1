import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { type LookupFunction } from 'node:net';
import { addressKind, literalAddress, networkTest, type AddressKind } from '../lib/address-kind.ts';
import { buildConnector } from './undici.ts';

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

  /** Connects as undici's own connector does, and nowhere that it may not. */
  connector(options: buildConnector.BuildOptions): buildConnector.connector {
    const direct = buildConnector({ ...options, lookup: this.#lookup(() => true) });
    const guarded = buildConnector({ ...options, lookup: this.#lookup((address) => this.#mayDial(address)) });
    return (target, callback) => {
      if (target.host === this.#registry) {
        direct(target, (...result) => {
          if (result[0] === null) this.#home ??= addressKind(result[1].remoteAddress ?? '');
          callback(...result);
        });
        return;
      }
      // No name, no lookup: an address was looked at before it came here, and is once more all the same.
      const literal = literalAddress(target.hostname);
      if (literal === undefined || this.#mayDial(literal)) guarded(target, callback);
      else callback(forbidden(target.host ?? literal, literal), null);
    };
  }

  /** Gives net.connect those of the addresses of a name that `isAllowed` lets through. */
  #lookup(isAllowed: (address: string) => boolean): LookupFunction {
    return (hostname, options, callback) => {
      this.#resolve(hostname, { ...options, all: true }, (error, addresses) => {
        if (error !== null) {
          callback(error, '', 0);
          return;
        }
        const allowed = addresses.filter(({ address }) => isAllowed(address));
        const [first] = allowed;
        if (first === undefined) callback(forbidden(hostname, addresses[0]?.address ?? '::'), '', 0);
        else if (options.all === true) callback(null, allowed);
        else callback(null, first.address, first.family);
      });
    };
  }

  #mayDial(address: string): boolean {
    const kind = addressKind(address);
    if (kind === 'public' || this.#isNamed(address)) return true;
    return kind === this.#home && kind !== 'metadata' && kind !== 'reserved';
  }
}

function forbidden(host: string, address: string): ForbiddenAddressError {
  const kind = KIND_NAMES[addressKind(address)];
  return new ForbiddenAddressError(`${host} is not dialled, because it is at a ${kind} address`);
}
