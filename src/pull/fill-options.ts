import type { Digest } from '../oci/digest.ts';
import type { BlobPart, KeptExtents } from '../store/blob-store.ts';
import type { SegmentLimits } from './fill-plan.ts';
import type { FillSlots } from './fill-slots.ts';
import type { OpenBlob } from './upstream-bytes.ts';

export type FillResult = 'stored' | 'corrupt' | 'broken' | 'disk' | 'abandoned';

/** How a fill ended; `error` unless it was stored. */
export interface FillEnd {
  readonly result: FillResult;
  /** Received from upstream and written. */
  readonly bytes: number;
  /** Taken over from an earlier attempt. */
  readonly resumedBytes: number;
  /** At how many places it received. */
  readonly segments: number;
  readonly error?: unknown;
}

export interface FillOptions {
  readonly digest: Digest;
  /** The registry that it comes from. */
  readonly host: string;
  /** What a manifest says of the size, in bytes. */
  readonly expectedSize: number | undefined;
  /** A served manifest names the blob, so somebody will come for it: the fill goes on without readers. */
  readonly isNamed: boolean;
  /** Whether the repository is known to hold the blob. If not, upstream has to say so even if nothing is missing. */
  readonly isLinked: boolean;
  readonly open: OpenBlob;
  /** What an earlier attempt left. */
  readonly kept: KeptExtents | undefined;
  readonly createPart: (expectedSize: number | undefined) => Promise<BlobPart>;
  readonly slots: FillSlots;
  readonly limits: SegmentLimits;
  /** Told whenever the last reader has gone, with the client that it was, and when there is one again. */
  readonly onUnread: (client: string) => void;
  readonly onRead: () => void;
}
