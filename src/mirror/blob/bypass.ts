import { upstreamBytes, type OpenBlob } from '../../download/source.ts';
import { digestHasher, type Digest } from '../../oci/digest.ts';
import type { ByteRange } from '../../oci/range.ts';
import type { BlobStream } from '../../upstream/upstream.ts';
import { isHeldBack, type BlobBody, type BlobSection } from '../answer/answers.ts';
import { sectionOf, verifiedAtEnd } from './reader.ts';

/**
 * Passes a blob from upstream to one client without the disk, if the disk cannot store it. A complete blob is verified:
 * its last bytes stay in memory until the hash matches.
 */
export class BypassBody implements BlobBody {
  readonly cache = 'bypass';
  readonly size: number | undefined;
  readonly #digest: Digest;
  readonly #open: OpenBlob;
  readonly #abort = new AbortController();
  #first: BlobStream | undefined;

  /** `first` is upstream's response from offset 0; `open` makes further ones for ranges. */
  constructor(options: { digest: Digest; size: number | undefined; first: BlobStream; open: OpenBlob }) {
    this.#digest = options.digest;
    this.#open = options.open;
    this.#first = options.first;
    this.size = options.size;
  }

  section(range: ByteRange | undefined): BlobSection {
    const start = range?.start ?? 0;
    const first = this.#first;
    this.#first = undefined;
    if (first?.offset !== start) first?.close();
    const chunks = upstreamBytes({
      digest: this.#digest,
      start,
      limit: () => range?.end ?? this.size,
      open: this.#open,
      first: first?.offset === start ? first : undefined,
      signal: this.#abort.signal,
      maySkip: () => true,
    });
    const isWhole = start === 0 && isHeldBack(range, this.size);
    const safe = isWhole ? verifiedAtEnd(chunks, digestHasher(this.#digest), this.#digest) : chunks;
    return sectionOf(safe, this.#abort.signal);
  }

  close(): void {
    this.#abort.abort();
    this.#first?.close();
  }
}
