import type { CacheState } from '../oci/cache-state.ts';
import type { Digest } from '../oci/digest.ts';

/*
 * An image as it is drawn: the tag, the index that it names, an entry per platform, and for each the config and the
 * layers. All of it is JSON: it is told to commands and by the admin API.
 */

export interface ResolveRequest {
  /** As people call it: `golang`, `golang:1.22`, `ghcr.io/org/app@sha256:…`. */
  readonly image: string;
  /** `os/architecture[/variant]`, or `all`; absent: those of the settings. */
  readonly platform?: string;
  /** Whether manifests that are missing are to be fetched, each of which is a pull. Default false. */
  readonly fetch?: boolean;
}

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
