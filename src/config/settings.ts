import type { PrefixBits } from '../lib/networks.ts';
import type { ListenAddress } from './addresses.ts';
import type { DailyLimit } from './bandwidth.ts';
import type { Rate } from './client-limits.ts';
import type { TagTtlRule, TtlMs } from './tags.ts';
import type { Size } from './units.ts';

/** Credentials for the repositories that a pattern names. */
interface IdentitySettings {
  readonly pattern: string;
  readonly username?: string;
  readonly password?: string;
  readonly passwordFile?: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

/** Settings for the clients of a network. */
interface ClientSettings {
  /** CIDR notation. */
  readonly network: string;
  readonly failMode?: 'fallthrough' | 'strict';
  /** `os/architecture[/variant]`. */
  readonly platform?: string;
  /** Only beside `platform`. */
  readonly resolve?: 'negotiate' | 'always';
}

/** Repositories that an account may pull. */
interface AccountSettings {
  /** `*`: all accounts that no earlier item names. */
  readonly name: string;
  /** Globs of registry and repository. */
  readonly allow: readonly string[];
}

/** One registry to pull from. Paths of files are absolute. */
export interface UpstreamSettings {
  /** Without a trailing slash: `https://registry-1.docker.io`. */
  readonly url: string;
  readonly fallbackUrls?: readonly string[];
  readonly username?: string;
  readonly password?: string;
  readonly passwordFile?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  /** `ecr-login` for the program `docker-credential-ecr-login`. */
  readonly credentialHelper?: string;
  /** A `config.json` of Docker. */
  readonly dockerConfig?: string;
  readonly credentialHosts?: readonly string[];
  /** Patterns `repository[:tag]`. Undefined: everything. */
  readonly allow?: readonly string[];
  readonly deny?: readonly string[];
  /** The first item whose pattern fits counts. */
  readonly identities: readonly IdentitySettings[];
  /** Repository globs that may be served although only the credentials can see them. */
  readonly private: readonly string[];
  /** Path of PEM certificates to trust besides the usual ones. */
  readonly ca?: string;
  /** CIDR notation. */
  readonly internalNetworks?: readonly string[];
  /** The first item that fits the time counts. Undefined: no limit. */
  readonly bandwidth?: readonly DailyLimit[];
  /** Undefined: the top setting. */
  readonly connectTimeoutMs: number | undefined;
  readonly headersTimeoutMs: number | undefined;
  readonly idleTimeoutMs: number | undefined;
}

/** The settings in force: plain frozen data, every value checked. */
export interface Settings {
  readonly listen: ListenAddress;
  /** Undefined: off. */
  readonly adminListen: ListenAddress | undefined;
  /** Absolute path. */
  readonly dataDir: string;
  /** By host, with `docker.io`. It has no prototype, so that code can look up any host that a client names. */
  readonly upstreams: Readonly<Record<string, UpstreamSettings>>;
  /** Undefined: no Redis. */
  readonly redisUrl?: string;
  readonly redisTimeoutMs: number;
  /** Absent: servers do not share which repositories are public, nor what those hold. */
  readonly fleetSecret?: string;
  readonly cacheSize: Size;
  /** Undefined: off. */
  readonly scrubIntervalMs: number | undefined;
  /** For tags that no rule fits. */
  readonly tagTtlMs: TtlMs;
  /** The first rule that fits counts. */
  readonly tagTtlRules: readonly TagTtlRule[];
  /** Per minute. */
  readonly backgroundChecks: number;
  readonly deletedTags: 'drop' | 'keep';
  readonly negativeTtlMs: number;
  readonly historyAgeMs: number;
  /** 0: no history. */
  readonly historyEntries: number;
  readonly offline: boolean;
  readonly failMode: 'fallthrough' | 'strict';
  /** The first item whose network holds the address of a client counts. */
  readonly clients: readonly ClientSettings[];
  /** From 0 to 1. */
  readonly pullBudgetLow: number;
  /** Pulls. */
  readonly pullBudgetReserve: number;
  /** `os/architecture[/variant]`. */
  readonly defaultPlatform: string;
  /** Empty: any. */
  readonly platforms: readonly string[];
  readonly readAhead: 'off' | 'manifests';
  readonly importPins: boolean;
  /** Path of a public key. */
  readonly importVerify?: string;
  /** CIDR notation. */
  readonly allowNetworks: readonly string[];
  /** CIDR notation. */
  readonly trustedProxies: readonly string[];
  /** Absent: there are no accounts. */
  readonly authListen?: ListenAddress;
  /** CIDR notation. */
  readonly authNetworks: readonly string[];
  /** Absolute paths, as are those of TLS. */
  readonly htpasswdFile?: string;
  readonly tokensFile?: string;
  /** The first item that names an account counts. Empty: each account may pull all that Pierhead serves. */
  readonly accounts: readonly AccountSettings[];
  /** Names of this server, in lower case. */
  readonly adminHosts: readonly string[];
  readonly adminToken?: string;
  /** Absent: plain HTTP. Never without the key. */
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  /** Absent: clients need no certificate. */
  readonly tlsClientCa?: string;
  /** At each address. */
  readonly maxConnections: number;
  /** Of one IP address. */
  readonly maxClientConnections: number;
  readonly clientHeadersTimeoutMs: number;
  readonly clientIdleTimeoutMs: number;
  readonly clientStallTimeoutMs: number;
  /** Undefined: off. */
  readonly requestRate: Rate | undefined;
  readonly requestRateNetworks: PrefixBits;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly logFormat: 'auto' | 'json' | 'pretty';
  readonly connectTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Downloads at a time. */
  readonly fills: number;
  /** Segments of one download at a time. */
  readonly fillSegments: number;
  readonly fillSegmentGapBytes: number;
}
