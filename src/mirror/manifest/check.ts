import type { TagChecked, Tell } from '../../events/events.ts';
import { deferred } from '../../lib/promises.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatImageName } from '../../oci/image-name.ts';
import type { Manifest } from '../../oci/manifest.ts';
import { repositoryKey, type Reference, type Repository } from '../../oci/reference.ts';
import type { ManifestStore, TagRecord } from '../../store/manifests.ts';
import { type Outcome, type Upstream, failureReason, isTimeout } from '../../upstream/upstream.ts';
import type { ContentLinks } from '../access/links.ts';
import { failureError, requirePulls, saysAbsent, PullError } from '../answer/errors.ts';
import type { NegativeCache } from '../answer/negative-cache.ts';
import type { ManifestFetcher } from './fetch.ts';
import type { FleetSingleFlight } from './fleet.ts';

/** The result of a tag check. `record` is what to serve now. */
export type TagCheck =
  | { readonly kind: 'unchanged'; readonly record: TagRecord }
  | { readonly kind: 'moved'; readonly record: TagRecord; readonly from: Digest }
  /** Upstream no longer has the tag. Without `record` it is no longer served. */
  | { readonly kind: 'gone'; readonly error: PullError; readonly record?: TagRecord }
  /**
   * The check failed, or the new manifest could not be fetched. `movesTo`: its digest, if known. `isLate`: see
   * PullError.
   */
  | {
      readonly kind: 'failed';
      readonly record: TagRecord;
      readonly movesTo?: Digest | undefined;
      readonly isLate?: boolean;
    };

/** Pinned tags are still served after upstream has deleted them. */
export interface Pins {
  isPinned(repository: Repository, tag: string): boolean | Promise<boolean>;
}

export interface TagCheckerOptions {
  readonly store: ManifestStore;
  readonly links: ContentLinks;
  readonly fetcher: ManifestFetcher;
  readonly negative: NegativeCache;
  readonly fleet: FleetSingleFlight;
  /** What to do with tags that upstream has deleted. */
  readonly deletedTags: 'drop' | 'keep';
  readonly pins?: Pins;
  readonly now: () => number;
  readonly tell: Tell<'tagChecked'>;
}

export interface TagQuestion {
  readonly upstream: Upstream;
  readonly repository: Repository;
  readonly tag: string;
  /** The cached record of the tag. */
  readonly record: TagRecord;
  readonly trigger: TagChecked['trigger'];
  /** A check by another server counts if it is at most this old. */
  readonly slackMs: number;
}

/** A running tag check. It goes on after its callers stop waiting. */
export interface RunningCheck {
  /** Resolves when upstream has answered the HEAD: to the new digest if the tag moved. */
  readonly answered: Promise<Digest | undefined>;
  readonly settled: Promise<TagCheck>;
}

interface Entry extends RunningCheck {
  isAwaited: boolean;
}

/** Checks cached tags by HEAD, one check at a time per tag, and fetches the new manifest of a tag that moved. */
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

  /** After a timeout, those who joined the check share one more (see lib/single-flight.ts). */
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

  /** The result of another server's check since `notBefore`. */
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
        : this.#failed(question, failureReason(outcome, repository.host), { isLate: isTimeout(outcome) });
    }
    const digest = outcome.value?.digest;
    if (digest === record.descriptor.digest) {
      answered(undefined);
      return this.#confirmed(question, record.descriptor);
    }
    answered(digest);
    return this.#move(question, digest);
  }

  /** Moves the tag, but only once the new manifest is stored: an outage must not lose the image. */
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
      // If HEAD gave no digest, the GET decides.
      if (digest === undefined && error.code === 'manifest-unknown' && !error.noStore) {
        return this.#gone(question, { kind: 'not-found', noStore: false });
      }
      return this.#failed(
        question,
        `${repository.host} has moved the tag to ${digest ?? 'a new manifest'}, but ${error.message}`,
        { movesTo: digest },
      );
    }
  }

  /** Upstream has just confirmed the manifest for this repository; it may be cached for another one only. */
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
   * Records a failed check if a client waited for it, so that an unreachable upstream costs one wait per `tagTtl` and
   * not one per pull. Other failed checks change nothing.
   */
  async #failed(
    question: TagQuestion,
    failure: string,
    details: { readonly movesTo?: Digest | undefined; readonly isLate?: boolean },
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
    // Docker Hub refuses deleted repositories. Without credentials, the repository was public, so a refusal means
    // deleted.
    const isDeleted = outcome.kind === 'not-found' || !upstream.hasCredentials;
    if (isDeleted && (deletedTags === 'keep' || (await pins?.isPinned(repository, tag)) === true)) {
      const kept: TagRecord = {
        ...record,
        checkedAt: now(),
        failure: `${failureReason(outcome, repository.host)}, but the tag is kept`,
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
