import type { SignatureState } from '../bundle/bundle-reader.ts';
import type { Digest } from '../oci/digest.ts';

/* What `import` asks for and gets. All of it is JSON; the bundle itself comes beside it. */

export interface ImportRequest {
  /** Whether what comes is pinned; absent: by the settings. */
  readonly pin?: boolean;
  /** PEM: the bundle must be signed by its private key. */
  readonly publicKey?: string;
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
