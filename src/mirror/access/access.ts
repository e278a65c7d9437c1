import { CLOCK_SKEW_MS } from '../../lib/clock.ts';
import { compileGlob } from '../../lib/glob.ts';
import { after, type MaybePromise } from '../../lib/promises.ts';
import { SingleFlight } from '../../lib/single-flight.ts';
import type { Digest } from '../../oci/digest.ts';
import { formatRepositoryName } from '../../oci/image-name.ts';
import { repositoryKey, type Reference, type Repository } from '../../oci/reference.ts';
import type { ManifestStore, RepositoryRecord } from '../../store/manifests.ts';
import type { Outcome, Upstream } from '../../upstream/upstream.ts';
import { failureError, saysAbsent, isLate, PullError } from '../answer/errors.ts';
import { withinTimeLimit } from '../answer/time-limit.ts';
import type { TagScope, Wanted } from './rules.ts';

/** The content of a request. An anonymous request for it shows whether the repository is public. */
export type Probe =
  | { readonly kind: 'manifest'; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly digest: Digest }
  | { readonly kind: 'tags' }
  | { readonly kind: 'referrers'; readonly digest: Digest };

/** How long a repository counts as public after an anonymous request succeeded. */
const PUBLIC_TTL_MS = 24 * 60 * 60 * 1000;

/** An expired time: the repository counts as public only while upstream is unreachable. */
const LONG_AGO = 0;

export interface RepositoryAccessOptions {
  readonly store: ManifestStore;
  readonly scope: TagScope;
  /** Patterns of private repositories per upstream host (setting `private`): all clients may pull them. */
  readonly privatePatterns: ReadonlyMap<string, readonly string[]>;
  readonly now: () => number;
}

/**
 * Decides whether a repository may be served. Clients are anonymous, so they must not get repositories that only our
 * credentials can see, unless a `private` pattern names them. A repository is public once an anonymous HEAD succeeds.
 * This is checked again after 24 h, and still counts while upstream is unreachable.
 */
export class RepositoryAccess {
  readonly #store: ManifestStore;
  /** The rules `allow` and `deny`. */
  readonly scope: TagScope;
  readonly #now: () => number;
  readonly #private: ReadonlyMap<string, readonly ((name: string) => boolean)[]>;
  readonly #probes = new SingleFlight<void>(isLate);

  constructor(options: RepositoryAccessOptions) {
    this.#store = options.store;
    this.scope = options.scope;
    this.#now = options.now;
    this.#private = new Map(
      [...options.privatePatterns].map(([host, patterns]) => [host, patterns.map(compileGlob)]),
    );
  }

  /**
   * Returns if the content may be served; at once if upstream need not be asked. Throws PullError, or rejects with one:
   * `denied` or `repository-unknown` if not, `unavailable` if that is unclear.
   */
  admit(upstream: Upstream, repository: Repository, probe: Probe): MaybePromise<void> {
    if (this.scope.allowsAll(repository)) return this.#admit(upstream, repository, probe);
    const inScope = this.scope.require(repository, wantedBy(probe));
    return inScope.then(() => this.#admit(upstream, repository, probe));
  }

  #admit(upstream: Upstream, repository: Repository, probe: Probe): MaybePromise<void> {
    return after(this.#store.getRepository(repository), (record) => {
      if (this.#isNamedPrivate(repository)) return this.#notePrivate(upstream, repository, record);
      if (this.#isVisible(upstream, record)) return undefined;
      return this.#confirm(upstream, repository, record, probe);
    });
  }

  #notePrivate(
    upstream: Upstream,
    repository: Repository,
    record: RepositoryRecord | undefined,
  ): MaybePromise<void> {
    if (!upstream.hasCredentials || record?.restricted === true || this.#isPublic(record)) return undefined;
    return this.#store.putRepository(repository, { ...record, restricted: true });
  }

  async #confirm(
    upstream: Upstream,
    repository: Repository,
    record: RepositoryRecord | undefined,
    probe: Probe,
  ): Promise<void> {
    const { promise } = this.#probes.run(`${repositoryKey(repository)} ${JSON.stringify(probe)}`, () =>
      this.#ask(upstream, repository, probe),
    );
    if (record?.publicAt === undefined) return promise;
    // The last result counts while upstream does not answer; a refusal in time replaces it.
    const renewed = promise.catch((error: unknown) => {
      if (error instanceof PullError && error.code !== 'unavailable' && !error.noStore) throw error;
    });
    await withinTimeLimit(renewed, upstream, repository);
  }

  /** Whether lists may show the repository. Upstream is not asked. */
  async isListed(upstream: Upstream, repository: Repository): Promise<boolean> {
    if (!this.scope.isListed(repository)) return false;
    if (this.#isNamedPrivate(repository)) return true;
    const record = await this.#store.getRepository(repository);
    return this.#isVisible(upstream, record) || record?.publicAt !== undefined;
  }

  /** Call this after upstream served content of the repository without credentials. */
  async confirmPublic(repository: Repository): Promise<void> {
    const record = await this.#store.getRepository(repository);
    if (this.#isPublic(record)) return;
    await this.#store.putRepository(repository, { publicAt: this.#now() });
  }

  /**
   * Call this after an import. The content is served while upstream is unreachable. It must not count as public
   * otherwise: the author of a bundle can name any repository, which would then be fetched with our credentials.
   */
  async presumePublic(repository: Repository): Promise<void> {
    const record = await this.#store.getRepository(repository);
    if (record?.publicAt !== undefined) return;
    await this.#store.putRepository(repository, { ...record, publicAt: LONG_AGO });
  }

  #isNamedPrivate(repository: Repository): boolean {
    return this.#private.get(repository.host)?.some((matches) => matches(repository.name)) ?? false;
  }

  /**
   * Without credentials, only public content can be fetched. `restricted` content was fetched while there were some.
   */
  #isVisible(upstream: Upstream, record: RepositoryRecord | undefined): boolean {
    return this.#isPublic(record) || (!upstream.hasCredentials && record?.restricted !== true);
  }

  #isPublic(record: RepositoryRecord | undefined): boolean {
    return record?.publicAt !== undefined && !this.#isExpired(record.publicAt);
  }

  #isExpired(publicAt: number): boolean {
    const ageMs = this.#now() - publicAt;
    return ageMs >= PUBLIC_TTL_MS || ageMs < -CLOCK_SKEW_MS;
  }

  async #ask(upstream: Upstream, repository: Repository, probe: Probe): Promise<void> {
    const outcome = await anonymousAnswer(upstream, repository.name, probe);
    if (outcome.kind === 'ok') {
      await this.#store.putRepository(repository, { publicAt: this.#now() });
      return;
    }
    if (saysAbsent(outcome)) {
      if (outcome.kind === 'refused') await this.#store.putRepository(repository, { restricted: true });
      throw new PullError(
        'repository-unknown',
        `${formatRepositoryName(repository)} is not a public repository of ${repository.host}`,
      );
    }
    const what = formatRepositoryName(repository);
    throw failureError(outcome, { what, host: repository.host, absent: 'repository-unknown' });
  }
}

function wantedBy(probe: Probe): Wanted {
  switch (probe.kind) {
    case 'manifest':
      return probe.reference;
    case 'blob':
    case 'referrers':
      return { kind: 'digest', digest: probe.digest };
    case 'tags':
      return { kind: 'list' };
  }
}

function anonymousAnswer(upstream: Upstream, name: string, probe: Probe): Promise<Outcome<unknown>> {
  const options = { identity: 'anonymous' } as const;
  switch (probe.kind) {
    case 'manifest':
      return upstream.confirmManifest(name, probe.reference, options);
    case 'blob':
      return upstream.headBlob(name, probe.digest, options);
    case 'tags':
    case 'referrers':
      return upstream.listTags(name, { n: '1' }, options);
  }
}
