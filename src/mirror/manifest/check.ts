import type { TagChecked, Tell } from '../../events/events.ts';
import { deferred } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatImageName } from '../../oci/image-name.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { repositoryKey, type Reference, type Repository } from '../../oci/reference.ts';
import type { ManifestStore, TagRecord } from '../../store/manifests.ts';
import { type Outcome, type Upstream, failureReason } from '../../upstream/upstream.ts';
import type { ContentLinks } from '../access/links.ts';
import { failureError, requirePulls, saysAbsent, saysLate, PullError } from '../answer/errors.ts';
import type { NegativeCache } from '../answer/negative-cache.ts';
import type { ManifestFetcher } from './fetch.ts';
import type { FleetSingleFlight } from './fleet.ts';

/** Who wants to know: a client that waits, someone who ordered it, or nobody yet. */
export type CheckTrigger = TagChecked['trigger'];

/** What came of asking upstream what a tag names. `record` is what is to be served now. */
export type TagCheck =
  | { readonly kind: 'unchanged'; readonly record: TagRecord }
  | { readonly kind: 'moved'; readonly record: TagRecord; readonly from: Digest }
  /** Upstream has it no more; without `record` it is not served any more either. */
  | { readonly kind: 'gone'; readonly error: PullError; readonly record?: TagRecord }
  /** It could not be told, or not followed. `movesTo`: what the tag names, if that is known; `isLate`: see PullError. */
  | {
      readonly kind: 'failed';
      readonly record: TagRecord;
      readonly movesTo?: Digest;
      readonly isLate?: true;
    };

/** Which tags are served on although upstream has them no more, because somebody wants to keep them. */
export interface Pins {
  isPinned(repository: Repository, tag: string): boolean | Promise<boolean>;
}

export interface TagCheckerOptions {
  readonly store: ManifestStore;
  readonly links: ContentLinks;
  readonly fetcher: ManifestFetcher;
  readonly negative: NegativeCache;
  readonly fleet: FleetSingleFlight;
  /** What becomes of tags that upstream has no more. */
  readonly deletedTags: 'drop' | 'keep';
  readonly pins?: Pins;
  readonly now: () => number;
  /** Called once for each check that has ended; `shared`: another server has done it. */
  readonly tell: Tell<'tagChecked'>;
}

export interface TagQuestion {
  readonly upstream: Upstream;
  readonly repository: Repository;
  readonly tag: string;
  /** What is known of the tag. */
  readonly record: TagRecord;
  readonly trigger: CheckTrigger;
  /** What another server has checked so short a time before is good enough; ms. */
  readonly slackMs: number;
}

/** A running check of one tag. It goes on when those who wait for it have given up. */
export interface RunningCheck {
  /** Resolves when upstream has answered the HEAD; to what the tag names now, if that is something else. */
  readonly answered: Promise<Digest | undefined>;
  readonly settled: Promise<TagCheck>;
}

interface Entry extends RunningCheck {
  isAwaited: boolean;
}

/** Asks upstream by HEAD what tags name that are in the cache, once at a time per tag, and follows those that moved. */
export class TagChecker {
  readonly #options: TagCheckerOptions;
  readonly #running = new Map<string, Entry>();

  constructor(options: TagCheckerOptions) {
    this.#options = options;
  }

  check(question: TagQuestion): RunningCheck {
    const running = this.#running.get(keyOf(question));
    if (running === undefined) return this.#begin(question);
    running.isAwaited ||= question.trigger === 'client';
    return this.#join(question, running);
  }

  /** As lib/single-flight.ts has it: one whose time is over is asked for once more by those who joined it, together. */
  #join(question: TagQuestion, { answered, settled }: RunningCheck): RunningCheck {
    const second = settled.then((check) => {
      if (check.kind !== 'failed' || check.isLate !== true) return undefined;
      return this.#running.get(keyOf(question)) ?? this.#begin(question);
    });
    const settledThen = second.then((again) => again?.settled ?? settled);
    settledThen.catch(() => undefined);
    return {
      answered: answered.then(async (digest) => digest ?? (await second.catch(() => undefined))?.answered),
      settled: settledThen,
    };
  }

  #begin(question: TagQuestion): RunningCheck {
    const key = keyOf(question);
    const isAwaited = question.trigger === 'client';
    const answered = deferred<Digest | undefined>();
    const settled = this.#run(key, question, answered.resolve).finally(() => {
      answered.resolve(undefined);
      this.#running.delete(key);
    });
    settled.catch(() => undefined);
    const check = { answered: answered.promise, settled, isAwaited };
    this.#running.set(key, check);
    return check;
  }

  async #run(
    key: string,
    question: TagQuestion,
    answered: (movesTo: Digest | undefined) => void,
  ): Promise<TagCheck> {
    const { fleet, tell } = this.#options;
    const startedAt = this.#options.now();
    let isShared = true;
    const check = await fleet.run<TagCheck>(`check:${key}`, {
      find: () => this.#foundElsewhere(question, startedAt - question.slackMs),
      work: () => {
        isShared = false;
        return this.#ask(question, answered);
      },
    });
    tell('tagChecked', { result: isShared ? 'shared' : check.kind, trigger: question.trigger });
    return check;
  }

  /** What another server has found out since `notBefore`. */
  async #foundElsewhere(question: TagQuestion, notBefore: number): Promise<TagCheck | undefined> {
    const { repository, tag, record: known } = question;
    const record = await this.#options.store.getTag(repository, tag, notBefore);
    if (record === undefined || record.failure !== undefined) return undefined;
    if (record.checkedAt <= Math.max(notBefore, known.checkedAt)) return undefined;
    return changeOf(known, record);
  }

  async #ask(question: TagQuestion, answered: (movesTo: Digest | undefined) => void): Promise<TagCheck> {
    const { upstream, repository, tag, record } = question;
    const outcome = await upstream.headManifest(
      repository.name,
      { kind: 'tag', tag },
      { identity: 'configured' },
    );
    if (outcome.kind !== 'ok') {
      answered(undefined);
      return saysAbsent(outcome)
        ? this.#gone(question, outcome)
        : this.#failed(
            question,
            failureReason(outcome, repository.host),
            saysLate(outcome) ? { isLate: true } : {},
          );
    }
    const digest = outcome.value?.digest;
    if (digest === record.descriptor.digest) {
      answered(undefined);
      return this.#confirmed(question, record.descriptor);
    }
    answered(digest);
    return this.#move(question, digest);
  }

  /** The tag names something else now. It moves only once that is stored, so that no outage can lose it. */
  async #move(question: TagQuestion, digest: Digest | undefined): Promise<TagCheck> {
    const { upstream, repository, tag } = question;
    const { store, fetcher } = this.#options;
    try {
      const known = digest === undefined ? undefined : await store.getManifest(digest);
      if (known === undefined) requirePulls(upstream, repository);
      else await this.#link(repository, known);
      const reference: Reference = digest === undefined ? { kind: 'tag', tag } : { kind: 'digest', digest };
      const manifest = known ?? (await fetcher.fetch(upstream, repository, reference).promise);
      return await this.#confirmed(question, manifest.descriptor);
    } catch (error) {
      if (!(error instanceof PullError)) throw error;
      // Where HEAD tells nothing, it is the GET that does.
      if (digest === undefined && error.code === 'manifest-unknown' && !error.noStore) {
        return this.#gone(question, { kind: 'not-found', noStore: false });
      }
      return this.#failed(
        question,
        `${repository.host} names ${digest ?? 'something else'} now, but ${error.message}`,
        digest === undefined ? {} : { movesTo: digest },
      );
    }
  }

  /** Upstream has just said that it is of this repository; it may have come through another one. */
  async #link(repository: Repository, { descriptor: { digest, size } }: Manifest): Promise<void> {
    const { links } = this.#options;
    if ((await links.get(repository, digest)) === undefined) await links.add(repository, digest, size);
  }

  async #confirmed(question: TagQuestion, descriptor: TagRecord['descriptor']): Promise<TagCheck> {
    const at = this.#options.now();
    const record = { descriptor, checkedAt: at, confirmedAt: at };
    await this.#options.store.putTag(question.repository, question.tag, record);
    return changeOf(question.record, record);
  }

  /**
   * Whatever comes of a check that a client waited for moves the tag's clock on, so that an upstream that is gone
   * costs one wait per window and not one per pull. Any other leaves a tag as fresh as it was.
   */
  async #failed(
    question: TagQuestion,
    failure: string,
    details: { readonly movesTo?: Digest; readonly isLate?: true },
  ): Promise<TagCheck> {
    const { repository, tag, record } = question;
    const stale: TagRecord = { ...record, checkedAt: this.#options.now(), failure };
    const isAwaited = this.#running.get(keyOf(question))?.isAwaited === true;
    if (isAwaited) await this.#options.store.putTag(repository, tag, stale);
    return { kind: 'failed', record: stale, ...details };
  }

  async #gone(question: TagQuestion, outcome: Exclude<Outcome<never>, { kind: 'ok' }>): Promise<TagCheck> {
    const { upstream, repository, tag, record } = question;
    const { store, negative, now, deletedTags, pins } = this.#options;
    const name = formatImageName({ repository, reference: { kind: 'tag', tag } });
    const error = failureError(outcome, { what: name, host: repository.host, absent: 'manifest-unknown' });
    // Docker Hub refuses repositories that it no longer has. To one without credentials it never showed a private one.
    const isDeleted = outcome.kind === 'not-found' || !upstream.hasCredentials;
    if (isDeleted && (deletedTags === 'keep' || (await pins?.isPinned(repository, tag)) === true)) {
      const kept: TagRecord = {
        ...record,
        checkedAt: now(),
        failure: `${failureReason(outcome, repository.host)}, and it is kept all the same`,
      };
      await store.putTag(repository, tag, kept);
      return { kind: 'gone', error, record: kept };
    }
    if (outcome.kind === 'not-found') {
      await store.deleteTag(repository, tag);
      negative.remember(repository, tag);
    }
    return { kind: 'gone', error };
  }
}

function keyOf({ repository, tag }: TagQuestion): string {
  return `${repositoryKey(repository)}:${tag}`;
}

function changeOf(before: TagRecord, record: TagRecord): TagCheck {
  const from = before.descriptor.digest;
  return from === record.descriptor.digest ? { kind: 'unchanged', record } : { kind: 'moved', record, from };
}
