import { z } from 'zod';
import type { SignatureState } from '../bundle/reader.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobState } from '../store/blobs.ts';
import type { CacheState } from '../store/images.ts';
import type { Allowance } from '../upstream/upstream.ts';

const flag = z.boolean('must be true or false');
/** `golang`, `golang:1.22`, `ghcr.io/org/app@sha256:…` */
const image = z.string('must be the name of an image');
const names = (message: string) => z.array(z.string(message), message).readonly();

/** The requests of operations, as JSON. An error message follows the name of its member. */
export const REQUESTS = {
  /** `repair`: remove damaged content and download it again. */
  verify: z.object({ repair: flag }),
  resolve: z.object({
    image,
    /** `os/architecture[/variant]`, or `all`. Absent: the platforms of the settings. */
    platform: z.string('must be a platform').optional(),
    /** Whether to fetch missing manifests; each costs one pull. Default false. */
    fetch: flag.optional(),
  }),
  pin: z.object({ image }),
  unpin: z.object({ image }),
  remove: z.object({ image }),
  refresh: z.object({ image }),
  warm: z.object({
    /** Lines as in list files: `golang:1.22@sha256:… linux/amd64,linux/arm64`. */
    images: names('must be a list of names of images'),
    /** For lines without platforms. `all`: all platforms of the index. */
    platforms: names('must be a list of platforms').optional(),
  }),
  flush: z.object({}),
  /** The bundle comes as bytes beside the request. */
  import: z.object({
    /** Whether to pin the images. Absent: as in the settings. */
    pin: flag.optional(),
    /** PEM. The bundle must be signed with its private key. */
    publicKey: z.string('must be a text').optional(),
  }),
};

export type OperationName = keyof typeof REQUESTS;
export type RequestOf<N extends OperationName> = Readonly<z.infer<(typeof REQUESTS)[N]>>;
export type ImageRequest = RequestOf<'pin'>;
export type ImagesRequest = RequestOf<'warm'>;
export type ImportRequest = RequestOf<'import'>;
export type ResolveRequest = RequestOf<'resolve'>;
export type VerifyRequest = RequestOf<'verify'>;

export interface Pinned {
  /** The full name of the image. */
  readonly image: string;
}

export interface RemovedImage {
  readonly image: string;
  readonly manifests: number;
  readonly blobs: number;
  readonly bytes: number;
}

export interface Unpinned extends Pinned {
  readonly wasPinned: boolean;
}

/** The result of a requested tag check. `image` is the full name. */
export type Refreshed = { readonly image: string } & (
  | { readonly result: 'unchanged'; readonly digest: Digest }
  | { readonly result: 'moved'; readonly from: Digest; readonly to: Digest }
  /** Upstream no longer has the tag. With `digest`, the cached manifest is still served. */
  | { readonly result: 'gone'; readonly reason: string; readonly digest?: Digest | undefined }
  /** The check failed, or the new manifest could not be fetched. `digest` is still served. */
  | { readonly result: 'unchecked'; readonly reason: string; readonly digest: Digest }
);

export type Problem = Exclude<BlobState, 'sound' | 'adopted' | 'gone'>;

/** Cached content that is damaged. */
export interface Finding extends Whereabouts {
  readonly content: 'blob' | 'manifest';
  readonly digest: Digest;
  readonly problem: Problem;
  /** The right size in bytes, if known. */
  readonly size?: number | undefined;
  /** `found`: left as is. `removed`: removed, but not downloaded again for `reason`. `repaired`: downloaded again. */
  readonly outcome: 'found' | 'removed' | 'repaired';
  readonly reason?: string | undefined;
}

export interface VerifyProgress {
  readonly checked: number;
  readonly total: number;
  readonly checkedBytes: number;
  readonly totalBytes: number;
}

export type VerifyEvent =
  ({ readonly kind: 'progress' } & VerifyProgress) | { readonly kind: 'finding'; readonly finding: Finding };

export interface VerifySummary {
  readonly blobs: number;
  readonly manifests: number;
  /** Hashed bytes. */
  readonly bytes: number;
  readonly problems: number;
  readonly repaired: number;
  /** Complete blobs that were not in LMDB and are now. */
  readonly adopted: number;
  readonly durationMs: number;
}

export interface Whereabouts {
  /** Repositories that hold the digest: `docker.io/library/golang`. */
  readonly repositories: readonly string[];
  /** Some images that contain the digest: `docker.io/library/golang:1.24`. */
  readonly images: readonly string[];
}

export interface ImportProgress {
  readonly images: number;
  /** Blobs of the bundle so far, those included that were cached before. */
  readonly blobs: number;
  readonly totalBlobs: number;
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface ImportedImage {
  /** `golang:1.22`. */
  readonly image: string;
  readonly digest: Digest;
}

export interface ImportSummary {
  readonly images: readonly ImportedImage[];
  readonly manifests: number;
  /** Blobs of the bundle that were stored now; `known`: that were cached before. */
  readonly stored: { readonly blobs: number; readonly bytes: number };
  readonly known: { readonly blobs: number; readonly bytes: number };
  readonly signature: SignatureState;
  readonly isPinned: boolean;
  /** Hosts that are missing in the setting `upstreams`: no client can pull their images. */
  readonly unservedHosts: readonly string[];
  readonly durationMs: number;
}

/*
 * The tree of an image, as JSON for commands and the admin API: its index, a manifest per platform, and for each
 * manifest the config and the layers. Sizes are in bytes.
 */

/** A manifest, config or layer. */
export interface ResolvedPart {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  readonly isCached: boolean;
}

export interface ResolvedLayer extends ResolvedPart {
  /** True if it is stored outside the registry, so that the mirror cannot serve it. */
  readonly isForeign: boolean;
}

/** An index or manifest; if it is not cached, only the data of its entry in the index. */
export interface ResolvedManifest extends ResolvedPart {
  /** From its entry in the index. */
  readonly platform?: string | undefined;
  /** If it is an attestation: the digest of its image. */
  readonly attests?: Digest | undefined;
  /** The platforms or clients that get it. */
  readonly chosenFor: readonly string[];
  /** Of an index, over its chosen manifests; of a manifest, its attestations included. */
  readonly state: CacheState;
  /** `state` is `cached`. */
  readonly isComplete: boolean;
  /** Of a manifest that was read. */
  readonly config?: ResolvedPart | undefined;
  readonly layers?: readonly ResolvedLayer[] | undefined;
  /** Of an index that was read. `moreEntries` is the number of those left out. */
  readonly entries?: readonly ResolvedManifest[] | undefined;
  readonly moreEntries?: number | undefined;
  /** Why it could not be read. */
  readonly failure?: string | undefined;
}

/** The manifest that clients of a platform get. */
export interface ResolvedChoice {
  readonly platform: string;
  /** Which clients: `asked for`, `default`, `clients of 10.2.0.0/16`. */
  readonly why: string;
  /** Absent: the image has no manifest for the platform. */
  readonly digest?: Digest | undefined;
  readonly failure?: string | undefined;
}

/** The cost of `fetch`: Docker Hub counts manifests. */
export interface ResolutionCost {
  readonly pulls: number;
  /** True if an index is missing, so that more pulls may follow. */
  readonly isAtLeast: boolean;
  /** Pulls left. Absent: the pull limit is unknown. */
  readonly remaining?: number | undefined;
}

export interface Resolution {
  /** The full name of the image. */
  readonly image: string;
  /** How fresh `root` is: `fresh`, `asked upstream`, or why it is stale. */
  readonly source: string;
  readonly root: ResolvedManifest;
  readonly choices: readonly ResolvedChoice[];
  readonly cost: ResolutionCost;
  /** The digest of the tag before, if that is cached and the new one is not. */
  readonly before?: Digest | undefined;
}

/*
 * Progress of `warm`, as JSON. Sizes are in bytes. A pull is a GET of a manifest, which Docker Hub counts.
 */

/** The expected cost, before any download. */
export interface WarmPlan {
  readonly images: number;
  /** Images that are cached already. */
  readonly complete: number;
  readonly pulls: number;
  /** Of the missing blobs. */
  readonly bytes: number;
  /** True if some manifests are missing, so that the cost may be higher. */
  readonly isAtLeast: boolean;
  /** The pull limits that the pulls count against. */
  readonly allowances: readonly (Allowance & { readonly host: string; readonly pulls: number })[];
}

export interface WarmProgress {
  readonly images: number;
  readonly totalImages: number;
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface WarmedImage {
  /** As in the request. */
  readonly image: string;
  /** `all`, or a list of platforms. */
  readonly platforms: readonly string[];
  /** Of its index or manifest. */
  readonly digest?: Digest | undefined;
  readonly manifests: number;
  readonly blobs: number;
  /** Of all its blobs. */
  readonly bytes: number;
  /** Of the blobs that were downloaded now. */
  readonly fetchedBytes: number;
  /** Why it is partial. Empty: it is cached. */
  readonly failures: readonly string[];
  /** Further remarks. */
  readonly notes: readonly string[];
}

export type WarmEvent =
  | { readonly kind: 'plan'; readonly plan: WarmPlan }
  | ({ readonly kind: 'progress' } & WarmProgress)
  | { readonly kind: 'image'; readonly image: WarmedImage };

export interface WarmSummary {
  /** In the order of the request. */
  readonly images: readonly WarmedImage[];
  readonly pulls: number;
  readonly bytes: number;
  readonly durationMs: number;
}

export type Flushed = Readonly<Record<string, never>>;

/** How the caller follows and stops an operation. */
export interface OperationRun<E> {
  /** Stops the operation, which then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: E) => void;
}

/** An operation of a command. Request, events and result are JSON, since it may run in another process. */
export type Operation<Q, E, R> = (request: Q, run: OperationRun<E>) => Promise<R>;

/** An operation that also takes any number of bytes. */
export type IntakeOperation<Q, E, R> = (
  request: Q,
  run: OperationRun<E>,
  bytes: AsyncIterable<Buffer>,
) => Promise<R>;

/** The operations of the process that owns the data directory. All throw OperationError. */
export interface Operations {
  readonly verify: Operation<VerifyRequest, VerifyEvent, VerifySummary>;
  readonly resolve: Operation<ResolveRequest, never, Resolution>;
  readonly pin: Operation<ImageRequest, never, Pinned>;
  readonly unpin: Operation<ImageRequest, never, Unpinned>;
  readonly remove: Operation<ImageRequest, never, RemovedImage>;
  readonly refresh: Operation<ImageRequest, never, Refreshed>;
  readonly warm: Operation<ImagesRequest, WarmEvent, WarmSummary>;
  /** Writes buffered records to LMDB, so that commands that read it see them. */
  readonly flush: Operation<RequestOf<'flush'>, never, Flushed>;
  readonly import: IntakeOperation<ImportRequest, ImportProgress, ImportSummary>;
}

export type EventOf<N extends OperationName> = Parameters<Parameters<Operations[N]>[1]['onEvent']>[0];
export type ResultOf<N extends OperationName> = Awaited<ReturnType<Operations[N]>>;

/**
 * - `usage`: the request is wrong.
 * - `not-found`: the image is not cached.
 * - `busy`: such an operation is running already.
 * - `stopped`: the process that runs the operation is ending.
 * - `protocol`: the process that owns the data directory speaks another version of the protocol.
 * - `failed`: any other error.
 */
export type OperationErrorCode = 'usage' | 'not-found' | 'busy' | 'stopped' | 'protocol' | 'failed';

/** `message` is for administrators: it may name paths and inner hosts. */
export class OperationError extends Error {
  override readonly name = 'OperationError';
  readonly code: OperationErrorCode;

  constructor(code: OperationErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/**
 * Both ends of the control socket must use the same version. Raise it when an older command could misread a response.
 */
export const CONTROL_PROTOCOL = 1;
/** The header of each request with the version of the protocol. */
export const PROTOCOL_HEADER = 'Pierhead-Protocol';
/** The query parameter with the request as JSON, if the body has the bytes. */
export const REQUEST_PARAMETER = 'request';

/** One line of the response (newline-delimited JSON). The last line has the result or the error. */
export type ControlLine =
  /** The caller may send its bytes now. */
  | { readonly begun: true }
  | { readonly event: unknown }
  | { readonly result: unknown }
  | { readonly error: { readonly code: string; readonly message: string } };
