import { upstreamBytes, type OpenBlob } from '../../download/source.ts';
import { digestHasher, type Digest } from '../../oci/digest.ts';
import type { ByteRange } from '../../oci/range.ts';
import type { BlobStream } from '../../upstream/upstream.ts';
import { isHeldBack, type BlobBody, type BlobSection } from '../answer/answers.ts';
import { sectionOf, verifiedAtEnd } from './reader.ts';

/**
 * A blob that goes from upstream to one client without touching the disk, for when the disk cannot take it. A whole
 * blob is verified on its way: its last bytes are kept in memory until the hash is known to match.
 */
export class BypassBody implements BlobBody {
  readonly cache = 'bypass';
  readonly size: number | undefined;
  readonly #digest: Digest;
  readonly #open: OpenBlob;
  readonly #abort = new AbortController();
  #first: BlobStream | undefined;

  /** `first` is upstream's answer from offset 0; `open` gets others for ranges. */
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
      ...(first?.offset === start ? { first } : {}),
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
