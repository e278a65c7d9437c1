import type { PrefixBits } from '../lib/networks.ts';
import type { ListenAddress } from './addresses.ts';
import type { DailyLimit } from './bandwidth.ts';
import type { Rate } from './client-limits.ts';
import type { TagTtlRule, TtlMs } from './tags.ts';
import type { Size } from './units.ts';

/** Credentials for the repositories that a pattern names. */
export interface IdentitySettings {
  readonly pattern: string;
  readonly username?: string;
  readonly password?: string;
  readonly passwordFile?: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

/** What holds for the clients of a network. */
export interface ClientSettings {
  /** CIDR notation. */
  readonly network: string;
  readonly failMode?: 'fallthrough' | 'strict';
  /** `os/architecture[/variant]`. */
  readonly platform?: string;
  /** Only beside `platform`. */
  readonly resolve?: 'negotiate' | 'always';
}

/** What an account may pull. */
export interface AccountSettings {
  /** `*`: all that no item before names. */
  readonly name: string;
  /** Globs of registry and repository. */
  readonly allow: readonly string[];
}

/** One registry to pull from. Secrets are given here or are to be read from their files, which are absolute paths. */
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
  /** As whom the repositories of a pattern are pulled; the first that fits counts. */
  readonly identities: readonly IdentitySettings[];
  /** Repository globs that may be served although only the credentials can see them. */
  readonly private: readonly string[];
  /** PEM certificates to trust besides the usual ones. */
  readonly ca?: string;
  /** CIDR notation. */
  readonly internalNetworks?: readonly string[];
  /** The first that fits the time counts. Undefined: no limit. */
  readonly bandwidth?: readonly DailyLimit[];
  /** Undefined: as for all. */
  readonly connectTimeoutMs?: number;
  readonly headersTimeoutMs?: number;
  readonly idleTimeoutMs?: number;
}

/** The settings in force: plain frozen data, every value checked. */
export interface Settings {
  readonly listen: ListenAddress;
  /** Undefined: switched off. */
  readonly adminListen: ListenAddress | undefined;
  /** Absolute path. */
  readonly dataDir: string;
  /** By host, `docker.io` always among them. It has no prototype, so any host that a client names can be looked up. */
  readonly upstreams: Readonly<Record<string, UpstreamSettings>>;
  /** Undefined: the embedded store alone. */
  readonly redisUrl?: string;
  readonly redisTimeoutMs: number;
  /** Absent: what Redis says of who may see what is neither written nor believed. */
  readonly fleetSecret?: string;
  readonly cacheSize: Size;
  /** Undefined: switched off. */
  readonly scrubIntervalMs: number | undefined;
  /** For tags that no rule fits. */
  readonly tagTtlMs: TtlMs;
  /** The first that fits counts. */
  readonly tagTtlRules: readonly TagTtlRule[];
  /** At most so many a minute. */
  readonly backgroundChecks: number;
  readonly deletedTags: 'drop' | 'keep';
  readonly negativeTtlMs: number;
  /** What was pulled longer ago is forgotten. */
  readonly historyAgeMs: number;
  /** 0: nothing is taken down. */
  readonly historyEntries: number;
  readonly offline: boolean;
  readonly failMode: 'fallthrough' | 'strict';
  /** The first whose network holds a client's address counts. */
  readonly clients: readonly ClientSettings[];
  /** From 0 to 1. */
  readonly pullBudgetLow: number;
  /** Pulls. */
  readonly pullBudgetReserve: number;
  /** `os/architecture[/variant]`. */
  readonly defaultPlatform: string;
  /** Of all clients; empty: any. */
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
  /** The first that names an account counts; empty: each may pull all that is served. */
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
  /** Undefined: switched off. */
  readonly requestRate: Rate | undefined;
  readonly requestRateNetworks: PrefixBits;
  readonly logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
  readonly logFormat: 'auto' | 'json' | 'pretty';
  readonly connectTimeoutMs: number;
  readonly headersTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** Transfers of blobs at a time. */
  readonly fills: number;
  /** Places at which one blob is transferred at a time. */
  readonly fillSegments: number;
  readonly fillSegmentGapBytes: number;
}
