import type { Digest } from '../oci/digest.ts';
import type { Allowance } from '../upstream/upstream.ts';

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
