import { z } from 'zod';
import type { SignatureState } from '../bundle/reader.ts';
import type { Digest } from '../oci/digest.ts';
import type { BlobState } from '../store/blobs.ts';
import type { CacheState } from '../store/images.ts';
import type { Allowance } from '../upstream/upstream.ts';

const flag = z.boolean('must be true or false');
/** As people call it: `golang`, `golang:1.22`, `ghcr.io/org/app@sha256:…`. */
const image = z.string('must be the name of an image');
const names = (message: string) => z.array(z.string(message), message).readonly();

/** What operations are asked for. All of it is JSON; the messages follow the name of what they are about. */
export const REQUESTS = {
  /** `repair`: remove what is wrong and fetch it anew. */
  verify: z.object({ repair: flag }),
  resolve: z.object({
    image,
    /** `os/architecture[/variant]`, or `all`; absent: those of the settings. */
    platform: z.string('must be a platform').exactOptional(),
    /** Whether manifests that are missing are to be fetched, each of which is a pull. Default false. */
    fetch: flag.exactOptional(),
  }),
  pin: z.object({ image }),
  unpin: z.object({ image }),
  remove: z.object({ image }),
  refresh: z.object({ image }),
  warm: z.object({
    /** A line each, as lists have them: `golang:1.22@sha256:… linux/amd64,linux/arm64`. */
    images: names('must be a list of names of images'),
    /** For these platforms where a line names none; `all` among them: for all that there are. */
    platforms: names('must be a list of platforms').exactOptional(),
  }),
  flush: z.object({}),
  /** The bundle itself comes beside it. */
  import: z.object({
    /** Whether what comes is pinned; absent: by the settings. */
    pin: flag.exactOptional(),
    /** PEM: the bundle must be signed by its private key. */
    publicKey: z.string('must be a text').exactOptional(),
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
  /** What the name was taken for. */
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

/** What came of checking a tag by order. `image` is what the name was taken for, `reason` for people. */
export type Refreshed = { readonly image: string } & (
  | { readonly result: 'unchanged'; readonly digest: Digest }
  | { readonly result: 'moved'; readonly from: Digest; readonly to: Digest }
  /** Upstream has it no more. With a digest it is served on all the same. */
  | { readonly result: 'gone'; readonly reason: string; readonly digest?: Digest }
  /** It could not be told, or the new manifest not be had: `digest` is served on. */
  | { readonly result: 'unchecked'; readonly reason: string; readonly digest: Digest }
);

export type Problem = Exclude<BlobState, 'sound' | 'adopted' | 'gone'>;

/** Something stored that is not what it should be. */
export interface Finding extends Whereabouts {
  readonly content: 'blob' | 'manifest';
  readonly digest: Digest;
  readonly problem: Problem;
  /** Bytes that it should have, as far as known. */
  readonly size?: number;
  /** `found`: left as it is. `removed`: and not to be had now, for `reason`. `repaired`: there again, and right. */
  readonly outcome: 'found' | 'removed' | 'repaired';
  readonly reason?: string;
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
  /** That were hashed. */
  readonly bytes: number;
  readonly problems: number;
  readonly repaired: number;
  /** Whole blobs that the index did not know and has learnt of. */
  readonly adopted: number;
  readonly durationMs: number;
}

export interface Whereabouts {
  /** Those with a link to the digest, by their keys: `docker.io/library/golang`. */
  readonly repositories: readonly string[];
  /** Some images that it belongs to or is: `docker.io/library/golang:1.24`. */
  readonly images: readonly string[];
}

export interface ImportProgress {
  readonly images: number;
  /** Of the blobs that the bundle holds, whether they were there already or not. */
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
  /** Blobs that were stored, and what of the bundle's was there already. */
  readonly stored: { readonly blobs: number; readonly bytes: number };
  readonly known: { readonly blobs: number; readonly bytes: number };
  readonly signature: SignatureState;
  readonly isPinned: boolean;
  /** Hosts of images that no client can ask for, since they are not among `upstreams`. */
  readonly unservedHosts: readonly string[];
  readonly durationMs: number;
}

/*
 * An image as it is drawn: the tag, the index that it names, an entry per platform, and for each the config and the
 * layers. All of it is JSON: it is told to commands and by the admin API.
 */

/** Something that an image is made of. Sizes in bytes. */
export interface ResolvedPart {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
  /** Whether it is stored here. */
  readonly isCached: boolean;
}

export interface ResolvedLayer extends ResolvedPart {
  /** It is held elsewhere: registries, and so mirrors, need not have it. */
  readonly isForeign: boolean;
}

/** A manifest, or an entry of an index of which nothing more is known. */
export interface ResolvedManifest extends ResolvedPart {
  /** As its index states it. */
  readonly platform?: string;
  /** Of what it is an attestation. */
  readonly attests?: Digest;
  /** Who would get it. */
  readonly chosenFor: readonly string[];
  /** Of an index that of the manifests in it that somebody would get; of an image its attestation counts too. */
  readonly state: CacheState;
  /** `state` is `cached`. */
  readonly isComplete: boolean;
  /** If it is an image that was looked into. */
  readonly config?: ResolvedPart;
  readonly layers?: readonly ResolvedLayer[];
  /** If it is an index that was looked into; `moreEntries` were left out. */
  readonly entries?: readonly ResolvedManifest[];
  readonly moreEntries?: number;
  /** Why it could not be looked into, for people. */
  readonly failure?: string;
}

/** Who gets what. */
export interface ResolvedChoice {
  readonly platform: string;
  /** Whose platform that is, as half a sentence: `asked for`, `default`, `clients of 10.2.0.0/16`. */
  readonly why: string;
  /** Of the manifest; absent: there is none for it. */
  readonly digest?: Digest;
  readonly failure?: string;
}

/** What `fetch` would cost: Docker Hub counts manifests. */
export interface ResolutionCost {
  readonly pulls: number;
  /** What is in an index that is missing is not known: it can be more. */
  readonly isAtLeast: boolean;
  /** Of the pull limit that they count against; absent: none is known. */
  readonly remaining?: number;
}

export interface Resolution {
  /** What the name was taken for. */
  readonly image: string;
  /** How what the tag names is known: `fresh`, `asked upstream`, or why it is out of date. */
  readonly source: string;
  readonly root: ResolvedManifest;
  readonly choices: readonly ResolvedChoice[];
  readonly cost: ResolutionCost;
  /** What the tag named before, if that is cached and what it names now is not. */
  readonly before?: Digest;
}

/*
 * What is told of bringing images into the cache. All of it is JSON. Sizes in bytes; a pull is a manifest that upstream
 * is asked for by GET, which is what Docker Hub counts.
 */

/** What it will cost, as far as that is known before anything is fetched. */
export interface WarmPlan {
  readonly images: number;
  /** That are whole already. */
  readonly complete: number;
  readonly pulls: number;
  /** Of the blobs that are missing. */
  readonly bytes: number;
  /** Some images are not known well enough: it can be more. */
  readonly isAtLeast: boolean;
  /** The pull limits that it counts against. */
  readonly allowances: readonly (Allowance & { readonly host: string; readonly pulls: number })[];
}

export interface WarmProgress {
  readonly images: number;
  readonly totalImages: number;
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface WarmedImage {
  /** As it was named. */
  readonly image: string;
  /** `all`, or for which. */
  readonly platforms: readonly string[];
  /** Of its manifest or list. */
  readonly digest?: Digest;
  readonly manifests: number;
  readonly blobs: number;
  /** Of all of its blobs. */
  readonly bytes: number;
  /** Of the blobs that were fetched for it now. */
  readonly fetchedBytes: number;
  /** Why it is not whole, for people; empty: it is. */
  readonly failures: readonly string[];
  /** What else is to be known. */
  readonly notes: readonly string[];
}

export type WarmEvent =
  | { readonly kind: 'plan'; readonly plan: WarmPlan }
  | ({ readonly kind: 'progress' } & WarmProgress)
  | { readonly kind: 'image'; readonly image: WarmedImage };

export interface WarmSummary {
  /** In the order in which they were named. */
  readonly images: readonly WarmedImage[];
  readonly pulls: number;
  readonly bytes: number;
  readonly durationMs: number;
}

export type Flushed = Readonly<Record<string, never>>;

/** How an operation is watched and ended by whoever asked for it. */
export interface OperationRun<E> {
  /** Ends the operation, which then rejects with the signal's reason. */
  readonly signal: AbortSignal;
  readonly onEvent: (event: E) => void;
}

/** One thing that a command asks for. What goes in and comes out is JSON: it may be done in another process. */
export type Operation<Q, E, R> = (request: Q, run: OperationRun<E>) => Promise<R>;

/** One that is given bytes besides, which may be as many as they like. */
export type IntakeOperation<Q, E, R> = (
  request: Q,
  run: OperationRun<E>,
  bytes: AsyncIterable<Buffer>,
) => Promise<R>;

/** What commands can have done on a data directory, by whoever owns it. All throw OperationError. */
export interface Operations {
  readonly verify: Operation<VerifyRequest, VerifyEvent, VerifySummary>;
  readonly resolve: Operation<ResolveRequest, never, Resolution>;
  readonly pin: Operation<ImageRequest, never, Pinned>;
  readonly unpin: Operation<ImageRequest, never, Unpinned>;
  readonly remove: Operation<ImageRequest, never, RemovedImage>;
  readonly refresh: Operation<ImageRequest, never, Refreshed>;
  readonly warm: Operation<ImagesRequest, WarmEvent, WarmSummary>;
  /** Writes what is noted in memory, so that commands which read the index see all that has happened. */
  readonly flush: Operation<RequestOf<'flush'>, never, Flushed>;
  readonly import: IntakeOperation<ImportRequest, ImportProgress, ImportSummary>;
}

export type EventOf<N extends OperationName> = Parameters<Parameters<Operations[N]>[1]['onEvent']>[0];
export type ResultOf<N extends OperationName> = Awaited<ReturnType<Operations[N]>>;

/**
 * - `usage`: the request is wrong, and stays so.
 * - `not-found`: what it names is not cached.
 * - `busy`: the like is being done already.
 * - `stopped`: the process that did it is ending.
 * - `protocol`: the process that owns the data directory speaks another protocol than this one.
 * - `failed`: anything else.
 */
export type OperationErrorCode = 'usage' | 'not-found' | 'busy' | 'stopped' | 'protocol' | 'failed';

/** `message` is for the people who ask, who may know everything. */
export class OperationError extends Error {
  override readonly name = 'OperationError';
  readonly code: OperationErrorCode;

  constructor(code: OperationErrorCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** What both ends of the control socket must agree on; raised when an older command could take an answer wrongly. */
export const CONTROL_PROTOCOL = 1;
/** Each request names the protocol that it speaks. */
export const PROTOCOL_HEADER = 'Pierhead-Protocol';
/** The request itself, as JSON in the query, where the body is for bytes. */
export const REQUEST_PARAMETER = 'request';

/** The answer to an operation, one of these a line (newline-delimited JSON); the last one has a result or an error. */
export type ControlLine =
  /** The bytes that come with the request are wanted now: whoever asks sends them only then. */
  | { readonly begun: true }
  | { readonly event: unknown }
  | { readonly result: unknown }
  | { readonly error: { readonly code: string; readonly message: string } };
