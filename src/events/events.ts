import type { Digest } from '../oci/digest.ts';
import type { PullLimitState } from '../oci/pull-limit.ts';

/**
 * The events of the server for log and metrics: name and data. Data is plain, so that an event could cross a thread. It
 * holds no secret and no signed URL.
 */
export interface Events {
  /** The answer to a client request has ended, or the client has gone. */
  readonly request: RequestEnded;
  /** A client sent bytes that are no HTTP request. The answer was `status`. */
  readonly unreadable: { readonly client: string; readonly status: number };
  readonly connectionRefused: ConnectionRefused;
  /** A client got the manifest of an image. */
  readonly pull: { readonly image: string; readonly platform: string };
  readonly prefetched: { readonly kind: PrefetchKind };

  readonly tagChecked: TagChecked;
  /** A background tag check was due and was skipped. */
  readonly tagCheckSkipped: { readonly reason: 'limit' | 'upstream' };
  /** A manifest request to an upstream that a fleet sends once. */
  readonly fleetWork: { readonly end: FleetWorkEnd };
  readonly fill: FillEnded;

  readonly upstreamRequest: UpstreamRequest;
  /** Bytes of a manifest or blob have arrived. */
  readonly upstreamBytes: { readonly upstream: string; readonly bytes: number };
  /** Bytes of a body waited for the limit `bandwidth`. */
  readonly throttled: { readonly upstream: string; readonly ms: number };
  /** A fallback URL answered in place of the registry. */
  readonly fallback: { readonly upstream: string };
  readonly breaker: BreakerEvent;
  readonly pullLimit: PullLimitEvent;

  readonly removed: ContentRemoved;
  /** A file in `blobs/` that does not match its name and is not in the index was removed. */
  readonly strayFileRemoved: { readonly digest: Digest };
  /** A client asked for a blob whose file does not fit the index. */
  readonly blobLost: {
    readonly digest: Digest;
    readonly problem: 'short' | 'missing' | 'unreadable';
    readonly reason?: string;
  };
  readonly badContent: BadContent;
  readonly scrubbed: { readonly bytes: number };
  readonly imported: BundleImported;

  /** Writes of blobs fail because of `reason`. Without `reason`: writes work again. */
  readonly diskHealth: { readonly reason?: string | undefined };
  readonly diskFull: { readonly isFull: boolean };
  /** With `keptAs`: found at the start and set aside. Without: found while the index is open. */
  readonly indexDamaged: { readonly reason: string; readonly keptAs?: string };
  /** A new index has all cached blobs again. */
  readonly indexRebuilt: Readonly<Record<string, never>>;
  /** Whether writes of the index fail. */
  readonly indexHealth: { readonly isFailing: boolean };
  readonly indexFailed: { readonly error: unknown };
  readonly redisFailed: { readonly kind: string };

  /** A file that a setting names was read again. With `reason`: it is not usable, and the content before stays in use. */
  readonly fileRead: { readonly setting: string; readonly reason?: string | undefined };
  /** The certificate for clients has changed. */
  readonly certificate: { readonly notAfter: Date };
  /** A fault of this program. */
  readonly fault: { readonly where: string; readonly error: unknown };
}

/** Sends an event to the listeners. */
export type Tell<K extends keyof Events = keyof Events> = <N extends K>(name: N, event: Events[N]) => void;

export type Listener = { readonly [K in keyof Events]?: (event: Events[K]) => void };

/** Sends each event to the listeners that have a method for it, in order. */
export function tellAll(listeners: readonly Listener[]): Tell {
  // By name: to look for the method in each listener costs more than most methods.
  const listening = new Map<keyof Events, readonly Listener[]>();
  const tell: Tell = (name, event) => {
    let those = listening.get(name);
    if (those === undefined) {
      those = listeners.filter((listener) => listener[name] !== undefined);
      listening.set(name, those);
    }
    for (const listener of those) {
      try {
        listener[name]?.(event);
      } catch (error) {
        if (name !== 'fault') tell('fault', { where: name, error });
      }
    }
  };
  return tell;
}

export interface RequestEnded {
  readonly client: string;
  /** At `authListen` only. */
  readonly account: string | undefined;
  readonly method: string | undefined;
  readonly kind: string;
  /** `docker.io/library/golang`, and the tag or digest. Both have passed the grammar. */
  readonly repository: string | undefined;
  readonly reference: string | undefined;
  readonly status: number;
  readonly cache: string;
  readonly bytes: number;
  readonly durationMs: number;
  readonly isAborted: boolean;
  readonly userAgent: string | undefined;
}

export interface ConnectionRefused {
  readonly why: 'connections' | 'connections-of-address' | 'tls' | 'accept';
  readonly client: string;
  readonly reason?: string | undefined;
}

export type PrefetchKind = 'manifest' | 'attestation' | 'statement' | 'config';

export interface TagChecked {
  /** `shared`: another server of the fleet has just checked. */
  readonly result: 'unchanged' | 'moved' | 'gone' | 'failed' | 'shared';
  readonly trigger: 'client' | 'refresh' | 'background';
}

/**
 * The result of the lookup whether another server of the fleet sends the same request.
 * - `first`: no other server did. `alone`: Redis was unreachable.
 * - `spared`: another server did, and its result in Redis was usable. `told`: it reported that the content does not exist.
 * - `second`: it ended without a result. `takeover`: it was killed, and its lease ran out. `late`: it took too long.
 */
export type FleetWorkEnd = 'first' | 'alone' | 'spared' | 'told' | 'second' | 'takeover' | 'late';

export interface FillEnded {
  readonly upstream: string;
  /** `docker.io/library/golang` */
  readonly repository: string;
  readonly digest: Digest;
  readonly result: 'stored' | 'corrupt' | 'broken' | 'disk' | 'abandoned';
  /** Bytes received from upstream and written. */
  readonly bytes: number;
  /** Bytes taken over from an earlier download. */
  readonly resumedBytes: number;
  /** Number of segments. */
  readonly segments: number;
  readonly reason?: string | undefined;
}

/** One request to an upstream or its token service. */
export interface UpstreamRequest {
  /** The name of the upstream in the settings, e.g. `docker.io`. */
  readonly upstream: string;
  readonly kind: 'manifest' | 'blob' | 'token' | 'tags' | 'referrers';
  readonly method: 'GET' | 'HEAD';
  /**
   * `ok`, `not-found`, `refused`, `pull-limit`, `abuse-limit`, `aborted`, the reason why the upstream is unavailable, or
   * `spared`: not sent, because the upstream is known to be unreachable or to limit requests.
   */
  readonly outcome: string;
  /** Until the whole answer has arrived, without the body of a blob. */
  readonly durationMs: number;
}

export type BreakerState = 'closed' | 'half-open' | 'open';

/** The host behind a breaker. `blobs`: a host that the registry redirects to. */
export type BreakerKind = 'registry' | 'tokens' | 'blobs';

/** A breaker was made, or has changed its state. */
export interface BreakerEvent {
  readonly upstream: string;
  readonly kind: BreakerKind;
  /** Host and port. */
  readonly host: string;
  readonly state: BreakerState;
  /** The breaker was just made, and is closed. */
  readonly isNew: boolean;
  /** Why the breaker is open. */
  readonly reason?: string;
}

/** The pull limit of an identity at an upstream. */
export interface PullLimitEvent {
  readonly upstream: string;
  readonly state: PullLimitState;
  /** Pulls of other clients under this identity since the last event. */
  readonly foreignPulls: number;
}

export interface ContentRemoved {
  /** `mark`: the cache passed its mark. `room`: a download needs room now. `request`: a command. */
  readonly reason: 'mark' | 'room' | 'request';
  readonly manifests: readonly Digest[];
  readonly blobs: number;
  readonly bytes: number;
}

/** Cached content that is damaged or missing. */
export interface BadContent {
  readonly foundBy: 'verify' | 'scrub';
  readonly content: 'blob' | 'manifest';
  readonly digest: Digest;
  readonly problem: string;
  readonly outcome: 'found' | 'removed' | 'repaired';
  readonly repositories: readonly string[];
  readonly images: readonly string[];
  readonly reason?: string | undefined;
}

export interface BundleImported {
  readonly images: readonly string[];
  readonly stored: { readonly blobs: number; readonly bytes: number };
  readonly known: { readonly blobs: number; readonly bytes: number };
  readonly signature: unknown;
  readonly isPinned: boolean;
  readonly durationMs: number;
}
