import type { Digest } from '../oci/digest.ts';
import type { PullLimitState } from '../oci/pull-limit.ts';

/**
 * What happens in the server, told to the log and the metrics: the name of each event, and its data. Plain data only: an
 * event could cross a thread. Nothing secret is told, and no signed URL.
 */
export interface Events {
  /** The answer to a request of a client is over, or its client gone. */
  readonly request: RequestEnded;
  /** What came was no request; it was refused with `status`. */
  readonly unreadable: { readonly client: string; readonly status: number };
  readonly connectionRefused: ConnectionRefused;
  /** A client got the manifest of an image. */
  readonly pull: { readonly image: string; readonly platform: string };
  readonly prefetched: { readonly kind: PrefetchKind };

  readonly tagChecked: TagChecked;
  /** A check in the background was due and did not take place. */
  readonly tagCheckSkipped: { readonly reason: 'limit' | 'upstream' };
  /** A request to upstream that a fleet sends once. */
  readonly fleetWork: { readonly end: FleetWorkEnd };
  readonly fill: FillEnded;

  readonly upstreamRequest: UpstreamRequest;
  /** A piece of a manifest or a blob has arrived. */
  readonly upstreamBytes: { readonly upstream: string; readonly bytes: number };
  /** A piece of a body had to wait for the bandwidth. */
  readonly throttled: { readonly upstream: string; readonly ms: number };
  /** A fallback URL answered in place of the registry. */
  readonly fallback: { readonly upstream: string };
  readonly breaker: BreakerEvent;
  readonly pullLimit: PullLimitEvent;

  readonly removed: ContentRemoved;
  /** A file that is no blob, and that the index does not know, is gone. */
  readonly strayFileRemoved: { readonly digest: Digest };
  /** A client asked for a blob that is not what the index says. */
  readonly blobLost: { readonly digest: Digest; readonly problem: 'short' | 'missing' | 'unreadable' };
  readonly badContent: BadContent;
  readonly scrubbed: { readonly bytes: number };
  readonly imported: BundleImported;

  /** The disk refuses blobs, for `reason`; without one it takes them again. */
  readonly diskHealth: { readonly reason?: string | undefined };
  readonly diskFull: { readonly isFull: boolean };
  /** `keptAs`: it was found at the start and set aside; else it is open, and found just now. */
  readonly indexDamaged: { readonly reason: string; readonly keptAs?: string };
  /** An index that was lost knows all cached blobs again. */
  readonly indexRebuilt: Readonly<Record<string, never>>;
  /** Whether the disk refuses the index. */
  readonly indexHealth: { readonly isFailing: boolean };
  readonly indexFailed: { readonly error: unknown };
  readonly redisFailed: { readonly kind: string };

  /** A file of the settings was read again; with `reason`, it cannot be used and what it said before holds on. */
  readonly fileRead: { readonly setting: string; readonly reason?: string | undefined };
  /** The certificate for clients is another. */
  readonly certificate: { readonly notAfter: Date };
  /** A fault of this program. */
  readonly fault: { readonly where: string; readonly error: unknown };
}

/** Tells of one of these events. */
export type Tell<K extends keyof Events = keyof Events> = <N extends K>(name: N, event: Events[N]) => void;

export type Listener = { readonly [K in keyof Events]?: (event: Events[K]) => void };

/** Tells each of the listeners that listens to an event, in their order. */
export function tellAll(listeners: readonly Listener[]): Tell {
  return (name, event) => {
    for (const listener of listeners) listener[name]?.(event);
  };
}

export interface RequestEnded {
  readonly client: string;
  /** Where accounts are asked for. */
  readonly account: string | undefined;
  readonly method: string | undefined;
  readonly kind: string;
  /** `docker.io/library/golang`, and the tag or digest; by the grammar, where they are there. */
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
  /** `shared`: another server of the fleet has just asked. */
  readonly result: 'unchanged' | 'moved' | 'gone' | 'failed' | 'shared';
  readonly trigger: 'client' | 'refresh' | 'background';
}

/**
 * What came of looking whether another server is at it already.
 * - `first`: nobody was. `alone`: the others could not be asked.
 * - `spared`: another one was, and what it put into the shared store was of use. `told`: it said why there is nothing.
 * - `second`: it let go without a result. `takeover`: it went away, and its lease ran out. `late`: it took too long.
 */
export type FleetWorkEnd = 'first' | 'alone' | 'spared' | 'told' | 'second' | 'takeover' | 'late';

export interface FillEnded {
  readonly upstream: string;
  /** `docker.io/library/golang` */
  readonly repository: string;
  readonly digest: Digest;
  readonly result: 'stored' | 'corrupt' | 'broken' | 'disk' | 'abandoned';
  /** Received from upstream and written. */
  readonly bytes: number;
  /** Taken over from an earlier attempt. */
  readonly resumedBytes: number;
  /** At how many places it received. */
  readonly segments: number;
  readonly reason?: string | undefined;
}

/** One question to upstream, or one to its token service. */
export interface UpstreamRequest {
  /** The name of the upstream in the settings, e.g. `docker.io`. */
  readonly upstream: string;
  readonly kind: 'manifest' | 'blob' | 'token' | 'tags' | 'referrers';
  readonly method: 'GET' | 'HEAD';
  /**
   * `ok`, `not-found`, `refused`, `pull-limit`, `abuse-limit`, `aborted`, why upstream is unavailable, or `spared`: it
   * was not asked, because it is known to be unreachable or to limit us.
   */
  readonly outcome: string;
  /** Until the answer was there; without the body of a blob. */
  readonly durationMs: number;
}

export type BreakerState = 'closed' | 'half-open' | 'open';

/** What a breaker stands before; `blobs` is a host that the registry redirects to. */
export type BreakerKind = 'registry' | 'tokens' | 'blobs';

/** A breaker is there, or has changed its state. */
export interface BreakerEvent {
  readonly upstream: string;
  readonly kind: BreakerKind;
  /** Host and port. */
  readonly host: string;
  readonly state: BreakerState;
  /** It has just been made, and is closed. */
  readonly isNew: boolean;
  /** Why it is open. */
  readonly reason?: string;
}

/** What is known of the pull limit of an identity at an upstream. */
export interface PullLimitEvent {
  readonly upstream: string;
  readonly state: PullLimitState;
  /** Pulls under this identity since the last event that were not ours. */
  readonly foreignPulls: number;
}

export interface ContentRemoved {
  /** By which mark of the limit, for room that is needed now, or by request. */
  readonly reason: 'mark' | 'room' | 'request';
  readonly manifests: readonly Digest[];
  readonly blobs: number;
  readonly bytes: number;
}

/** Cached content that is not what it should be. */
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
