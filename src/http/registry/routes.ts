import type { PlatformRule } from '../../mirror/answer/answers.ts';
import type { Mirror } from '../../mirror/mirror.ts';
import { parseDigest, type Digest } from '../../oci/digest.ts';
import { parsePlatform, PLATFORM_FORM, type Platform } from '../../oci/platform.ts';
import { parseReference, repositoryKey, type Repository } from '../../oci/reference.ts';
import type { TagPage } from '../../oci/tag-page.ts';
import { sendBlob, sendBlobHead } from './blob.ts';
import { RequestError } from './errors.ts';
import { isHead, isRead, sendBytes, type Exchange } from './exchange.ts';
import { cacheStatusHeader } from './headers.ts';
import { catalogLimit, pageQuery, sendCatalog, sendTags, sendReferrers } from './lists.ts';
import { sendManifest } from './manifest.ts';
import { parseRegistryPath, type RegistryPath } from './path.ts';

const EMPTY_OBJECT = Buffer.from('{}');
/** Only read. */
const NO_QUERY = new URLSearchParams();

/** What a request is answered with, and how. */
export interface RegistryContext {
  readonly pull: Mirror;
  readonly platforms: PlatformRules;
  /** Whether who asks may see a repository (`docker.io/library/golang`); undefined: all that are served. */
  readonly mayPull: ((repository: string) => boolean) | undefined;
}

export interface PlatformRules {
  /** Of the client's network. */
  readonly rule: PlatformRule | undefined;
  /** What, besides `?platform=`, an answer by tag depends on: headers, or the networks of clients too. */
  readonly varies: 'by-headers' | 'by-network';
}

/**
 * Answers a request to the registry API (OCI distribution-spec, pull and discovery): parses, calls the product,
 * renders. Throws RequestError or PullError as long as no headers are out.
 */
export function answerRegistryRequest(
  context: RegistryContext,
  exchange: Exchange,
  target: string,
): Promise<void> | undefined {
  if (!isRead(exchange)) {
    throw new RequestError(405, 'UNSUPPORTED', 'this is a read-only mirror: push to the registry itself');
  }
  const question = target.indexOf('?');
  const path = parseRegistryPath(question < 0 ? target : target.slice(0, question));
  const query = question < 0 ? NO_QUERY : new URLSearchParams(target.slice(question + 1));
  const namespace = query.get('ns') ?? undefined;
  switch (path.kind) {
    case 'ping':
      exchange.kind = 'ping';
      sendBytes(exchange, 200, {
        headers: {
          'Content-Type': 'application/json',
          'Docker-Distribution-API-Version': 'registry/2.0',
          'Cache-Status': cacheStatusHeader('local'),
        },
        body: EMPTY_OBJECT,
      });
      return;
    case 'catalog':
      exchange.kind = 'catalog';
      return answerCatalog(context, exchange, query);
    case 'unknown':
      throw new RequestError(404, 'NAME_UNKNOWN', 'no such resource in the registry API');
    case 'manifest':
    case 'blob':
    case 'tags':
    case 'referrers':
      return answerInRepository(context, exchange, { path, query, namespace });
  }
}

type RepositoryPath = Extract<RegistryPath, { readonly name: string }>;

function answerInRepository(
  context: RegistryContext,
  exchange: Exchange,
  { path, query, namespace }: { path: RepositoryPath; query: URLSearchParams; namespace: string | undefined },
): Promise<void> {
  const { pull } = context;
  exchange.kind = path.kind;
  const repository = pull.locate(path.name, namespace);
  if (repository === undefined)
    throw new RequestError(404, 'NAME_INVALID', 'the repository name is malformed');
  exchange.repository = repositoryKey(repository);
  if (context.mayPull?.(exchange.repository) === false) {
    throw new RequestError(403, 'DENIED', `this account may not pull from ${exchange.repository}`);
  }
  if (namespace !== undefined) exchange.namespace = namespace;
  switch (path.kind) {
    case 'manifest':
      return answerManifest(context, exchange, { repository, reference: path.reference, query });
    case 'blob':
      return answerBlob(pull, exchange, { repository, digest: requireDigest(exchange, path.digest) });
    case 'tags':
      return answerTags(pull, exchange, { repository, name: path.name, page: pageQuery(query) });
    case 'referrers': {
      const artifactTypes = query.getAll('artifactType');
      const digest = requireDigest(exchange, path.digest);
      return answerReferrers(pull, exchange, { repository, digest, artifactTypes });
    }
  }
}

async function answerManifest(
  { pull, platforms }: RegistryContext,
  exchange: Exchange,
  {
    repository,
    reference: text,
    query,
  }: { repository: Repository; reference: string; query: URLSearchParams },
): Promise<void> {
  const reference = parseReference(text);
  if (reference === undefined) {
    if (text.includes(':')) throw new RequestError(400, 'DIGEST_INVALID', 'the digest is malformed');
    throw new RequestError(404, 'MANIFEST_UNKNOWN', 'the tag is malformed');
  }
  exchange.reference = text;
  const platform = platformQuery(query);
  // An error, too: what one client has no manifest for, another may.
  if (reference.kind === 'tag') exchange.vary = varyOf(platforms);
  const { accept, 'user-agent': userAgent } = exchange.request.headers;
  const answer = await pull.manifest({
    repository,
    reference,
    client: { address: exchange.client, accept, userAgent, platform, rule: platforms.rule },
    headOnly: isHead(exchange),
  });
  sendManifest(exchange, answer);
}

/** RFC 9110, section 12.5.5: `*` is for what no header tells, such as the client's address. */
function varyOf({ varies }: PlatformRules): string {
  return varies === 'by-network' ? '*' : 'Accept, User-Agent';
}

async function answerBlob(
  pull: Mirror,
  exchange: Exchange,
  { repository, digest }: { repository: Repository; digest: Digest },
): Promise<void> {
  if (isHead(exchange)) {
    sendBlobHead(exchange, digest, await pull.headBlob(repository, digest));
    return;
  }
  const body = await pull.openBlob(repository, digest, exchange.client);
  if (exchange.response.destroyed) {
    body.close();
    return;
  }
  await sendBlob(exchange, digest, body);
}

async function answerTags(
  pull: Mirror,
  exchange: Exchange,
  { repository, name, page }: { repository: Repository; name: string; page: TagPage },
): Promise<void> {
  sendTags(exchange, name, await pull.tags(repository, page));
}

async function answerReferrers(
  pull: Mirror,
  exchange: Exchange,
  asked: { repository: Repository; digest: Digest; artifactTypes: readonly string[] },
): Promise<void> {
  const answer = await pull.referrers(asked.repository, asked.digest);
  sendReferrers(exchange, answer, asked.artifactTypes);
}

async function answerCatalog(
  { pull, mayPull }: RegistryContext,
  exchange: Exchange,
  query: URLSearchParams,
): Promise<void> {
  const page = pageQuery(query);
  const limit = catalogLimit(page);
  const after = page.last === undefined ? {} : { after: page.last };
  sendCatalog(exchange, await pull.repositories({ ...after, limit: limit + 1, mayPull }), limit);
}

function requireDigest(exchange: Exchange, text: string): Digest {
  const digest = parseDigest(text);
  if (digest === undefined) throw new RequestError(400, 'DIGEST_INVALID', 'the digest is malformed');
  exchange.reference = text;
  return digest;
}

function platformQuery(query: URLSearchParams): Platform | undefined {
  const text = query.get('platform');
  if (text === null) return undefined;
  // `windows(10.0.20348+win32k)/amd64` is written as it is, and a plus in a query stands for a space.
  const platform = parsePlatform(text.replaceAll(' ', '+'));
  if (platform === undefined) {
    throw new RequestError(400, 'UNSUPPORTED', `platform is not one; allowed: ${PLATFORM_FORM}`);
  }
  return platform;
}
