import { Hono } from 'hono';
import { RegExpRouter } from 'hono/router/reg-exp-router';
import type { Mirror } from '../../mirror/mirror.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { parsePlatform, PLATFORM_FORM, type Platform } from '../../oci/platform.ts';
import { parseReference, repositoryKey, type Repository } from '../../oci/reference.ts';
import { ALIVE, readiness, type Health } from '../server/health.ts';
import { sendBlob, sendBlobHead } from './blob.ts';
import { RequestError } from './errors.ts';
import { isHead, isRead, sendBytes, type Exchange } from './exchange.ts';
import { cacheStatusHeader } from './headers.ts';
import { catalogLimit, pageQuery, sendCatalog, sendTags, sendReferrers } from './lists.ts';
import { sendManifest } from './manifest.ts';
import type { Answer, Asked, PlatformRules, RegistryEnv, Route } from './route.ts';

/** Shared, so never changed. */
const NO_QUERY = new URLSearchParams();
/** A path that no route matches. */
const NOWHERE = '/';

/**
 * A repository may contain route words (`a/manifests/b`). The last one counts, since only one segment may follow it.
 * Lazy, so that the catalog, which is no repository, is tried last.
 */
const NAME = ':name{[^]+?}';

export interface RoutesOptions {
  readonly mirror: Mirror;
  readonly health: () => Health;
}

/** The routes of the registry API (OCI distribution-spec, "Endpoints", pull and discovery), and of health checks. */
export function createRoutes({ mirror, health }: RoutesOptions, route: Route): Hono<RegistryEnv> {
  const app = new Hono<RegistryEnv>({
    getPath: (_request, options) => routePath(options?.env?.incoming.url ?? NOWHERE),
    // Where it fails, Hono would choose TrieRouter, which matches `/manifests-2` as `/manifests`.
    router: new RegExpRouter(),
  });
  const inRepository = (answer: AnswerInRepository): Answer => {
    return (asked) => answer(mirror, asked, findRepository(mirror, asked));
  };
  app.get(
    '/healthz',
    route('health', ({ exchange }) => sendHealth(exchange, 200, ALIVE)),
  );
  app.get(
    '/readyz',
    route('health', ({ exchange }) => {
      const { status, body } = readiness(health());
      sendHealth(exchange, status, body);
    }),
  );
  app.on('GET', ['/v2', '/v2/'], route('ping', answerPing));
  app.get(`/v2/${NAME}/manifests/:reference`, route('manifest', inRepository(answerManifest)));
  app.get(`/v2/${NAME}/blobs/:digest`, route('blob', inRepository(answerBlob)));
  app.get(`/v2/${NAME}/tags/list`, route('tags', inRepository(answerTags)));
  app.get(`/v2/${NAME}/referrers/:digest`, route('referrers', inRepository(answerReferrers)));
  // RegExpRouter allows no fixed word where another route has a parameter.
  app.get(
    `/v2/${NAME}`,
    route('catalog', (asked) =>
      asked.param('name') === '_catalog' ? answerCatalog(mirror, asked) : answerOther(asked),
    ),
  );
  app.notFound(route('other', answerOther));
  return app;
}

/**
 * The path of a request target for the routes. Some clients encode the colon of a digest (`sha256%3A…`), so each
 * segment is decoded once. The path is not normalised: dot segments stay, and an encoded slash matches no route. So no
 * spelling reaches a name that the grammar forbids. Hono decodes parameters again, so a `%` that is left is encoded for
 * it.
 */
function routePath(target: string): string {
  // Health checks match by the full target, query included.
  if (!target.startsWith('/v2')) return target;
  const path = target.slice(0, queryAt(target));
  if (!path.includes('%')) return path;
  if (!path.startsWith('/v2/')) return NOWHERE;
  try {
    const segments = path.split('/').map(decodeURIComponent);
    if (segments.some((segment) => segment.includes('/'))) return NOWHERE;
    return segments.join('/').replaceAll('%', '%25');
  } catch {
    return NOWHERE;
  }
}

function queryAt(target: string): number {
  const question = target.indexOf('?');
  return question < 0 ? target.length : question;
}

function queryOf({ request: { url = '' } }: Exchange): URLSearchParams {
  const at = queryAt(url);
  return at === url.length ? NO_QUERY : new URLSearchParams(url.slice(at + 1));
}

function sendHealth(exchange: Exchange, status: number, body: object): void {
  sendBytes(exchange, status, {
    headers: { 'Content-Type': 'application/json', 'Cache-Status': cacheStatusHeader('local') },
    body: Buffer.from(`${JSON.stringify(body)}\n`),
  });
}

function answerPing({ exchange }: Asked): void {
  sendBytes(exchange, 200, {
    headers: {
      'Content-Type': 'application/json',
      'Docker-Distribution-API-Version': 'registry/2.0',
      'Cache-Status': cacheStatusHeader('local'),
    },
    body: Buffer.from('{}'),
  });
}

function answerOther({ exchange }: Asked): never {
  exchange.kind = 'other';
  if (isRead(exchange)) throw new RequestError(404, 'NAME_UNKNOWN', 'no such resource in the registry API');
  throw new RequestError(405, 'UNSUPPORTED', 'this is a read-only mirror: push to the registry itself');
}

async function answerCatalog(mirror: Mirror, { exchange, mayPull }: Asked): Promise<void> {
  const page = pageQuery(queryOf(exchange));
  const limit = catalogLimit(page);
  const names = await mirror.repositories({ after: page.last, limit: limit + 1, mayPull });
  sendCatalog(exchange, names, limit);
}

interface InRepository {
  readonly repository: Repository;
  readonly query: URLSearchParams;
}

type AnswerInRepository = (mirror: Mirror, asked: Asked, found: InRepository) => Promise<void>;

/** Throws RequestError if the repository's name is malformed or the account may not pull it. */
function findRepository(mirror: Mirror, { exchange, param, mayPull }: Asked): InRepository {
  const query = queryOf(exchange);
  const namespace = query.get('ns') ?? undefined;
  const repository = mirror.locate(param('name'), namespace);
  if (repository === undefined)
    throw new RequestError(404, 'NAME_INVALID', 'the repository name is malformed');
  exchange.repository = repositoryKey(repository);
  if (mayPull?.(exchange.repository) === false) {
    throw new RequestError(403, 'DENIED', `this account may not pull from ${exchange.repository}`);
  }
  exchange.namespace = namespace;
  return { repository, query };
}

async function answerManifest(
  mirror: Mirror,
  { exchange, param, platforms }: Asked,
  { repository, query }: InRepository,
): Promise<void> {
  const text = param('reference');
  const reference = parseReference(text);
  if (reference === undefined) {
    if (text.includes(':')) throw new RequestError(400, 'DIGEST_INVALID', 'the digest is malformed');
    throw new RequestError(404, 'MANIFEST_UNKNOWN', 'the tag is malformed');
  }
  exchange.reference = text;
  const platform = platformQuery(query);
  // Errors depend on the client, too: another platform may have a manifest.
  if (reference.kind === 'tag') exchange.vary = varyOf(platforms);
  const { accept, 'user-agent': userAgent } = exchange.request.headers;
  const answer = await mirror.manifest({
    repository,
    reference,
    client: { address: exchange.client, accept, userAgent, platform, rule: platforms.rule },
    headOnly: isHead(exchange),
  });
  sendManifest(exchange, answer);
}

/** `*` stands for more than request headers, such as the client's address (RFC 9110 section 12.5.5). */
function varyOf({ varies }: PlatformRules): string {
  return varies === 'by-network' ? '*' : 'Accept, User-Agent';
}

async function answerBlob(mirror: Mirror, asked: Asked, { repository }: InRepository): Promise<void> {
  const { exchange } = asked;
  const digest = requireDigest(asked);
  if (isHead(exchange)) {
    sendBlobHead(exchange, digest, await mirror.headBlob(repository, digest));
    return;
  }
  const body = await mirror.openBlob(repository, digest, exchange.client);
  if (exchange.response.destroyed) {
    body.close();
    return;
  }
  await sendBlob(exchange, digest, body);
}

async function answerTags(
  mirror: Mirror,
  { exchange, param }: Asked,
  { repository, query }: InRepository,
): Promise<void> {
  sendTags(exchange, param('name'), await mirror.tags(repository, pageQuery(query)));
}

async function answerReferrers(
  mirror: Mirror,
  asked: Asked,
  { repository, query }: InRepository,
): Promise<void> {
  const artifactTypes = query.getAll('artifactType');
  const answer = await mirror.referrers(repository, requireDigest(asked));
  sendReferrers(asked.exchange, answer, artifactTypes);
}

function requireDigest({ exchange, param }: Asked): Digest {
  const text = param('digest');
  const digest = parseDigest(text);
  if (digest === undefined) throw new RequestError(400, 'DIGEST_INVALID', 'the digest is malformed');
  exchange.reference = text;
  return digest;
}

function platformQuery(query: URLSearchParams): Platform | undefined {
  const text = query.get('platform');
  if (text === null) return undefined;
  // Clients do not encode the plus of `windows(10.0.20348+win32k)/amd64`, which a query decodes to a space.
  const platform = parsePlatform(text.replaceAll(' ', '+'));
  if (platform === undefined) {
    throw new RequestError(400, 'UNSUPPORTED', `platform is "${text}"; allowed: ${PLATFORM_FORM}`);
  }
  return platform;
}
