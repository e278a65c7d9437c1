import type { Digest } from '../oci/digest.ts';
import type { BlobStream, Outcome } from '../upstream/upstream.ts';
import type { FillProgress } from './fill-progress.ts';
import type { OpenBlob } from './upstream-bytes.ts';

export interface FillUpstreamOptions {
  readonly digest: Digest;
  readonly progress: FillProgress;
  readonly open: OpenBlob;
  /** Told when the blob turns out to be had from its start only. */
  readonly onDecoded: () => void;
}

/** Upstream, as a fill and its readers ask it: what it says of the blob has to agree with what is known. */
export class FillUpstream {
  readonly #options: FillUpstreamOptions;
  #isDecoded = false;
  #hasToldSize = false;
  #wasContradicted = false;

  constructor(options: FillUpstreamOptions) {
    this.#options = options;
  }

  /** Somebody on the way encodes the blob, and there is no way into the middle of that. */
  get isDecoded(): boolean {
    return this.#isDecoded;
  }

  /** The size is upstream's own word, and not just that of a manifest. */
  get hasToldSize(): boolean {
    return this.#hasToldSize;
  }

  readonly open: OpenBlob = async (offset, end, signal) => {
    const { digest, progress, open, onDecoded } = this.#options;
    const from = this.#isDecoded ? 0 : offset;
    const to = this.#isDecoded || end === progress.size ? undefined : end;
    const outcome = await open(from, to, signal);
    if (outcome.kind !== 'ok') return outcome;
    const { totalSize, isDecoded } = outcome.value;
    this.#isDecoded ||= isDecoded;
    if (isDecoded) onDecoded();
    const { size } = progress;
    const isContradiction = size !== undefined && totalSize !== undefined && totalSize !== size;
    if (!isContradiction) {
      this.#hasToldSize ||= totalSize !== undefined;
      return outcome;
    }
    this.#wasContradicted = true;
    outcome.value.close();
    const reason = `upstream says that ${digest} has ${totalSize} bytes, which is known to have ${size}`;
    return { kind: 'unavailable', cause: 'not-a-registry', reason };
  };

  /**
   * For the first answer, `missing` of an earlier attempt; the whole from an upstream that cannot give just that, or
   * whose answer is not the blob that is known: the next redirect may lead to a host that has it right.
   */
  async first(
    missing: { readonly start: number; readonly end?: number },
    signal: AbortSignal,
  ): Promise<Outcome<BlobStream>> {
    const outcome = await this.open(missing.start, missing.end, signal);
    const isRefused = outcome.kind === 'unavailable' && outcome.cause === 'not-a-registry';
    return isRefused && (missing.start > 0 || this.#wasContradicted)
      ? this.open(0, undefined, signal)
      : outcome;
  }
}
