import type { Digest } from '../oci/digest.ts';

/** How far a walk through all that is stored has come; it takes days, and the server may be started anew meanwhile. */
export interface Bookmark {
  /** When the walk began; ms since the epoch. */
  readonly startedAt: number;
  /** The last one that is done. Undefined: none yet. */
  readonly after?: Digest;
  /** Everything is done. */
  readonly isDone: boolean;
}

/** Bookmarks by name. Undefined: there never was such a walk. */
export interface Bookmarks {
  getBookmark(name: string): Bookmark | undefined;
  putBookmark(name: string, bookmark: Bookmark): Promise<void>;
}
