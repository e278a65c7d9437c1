import { JsonReader, type JsonLimits } from '../lib/json-reader.ts';
import { listOf, objectOf, SCALAR } from '../lib/json-shape.ts';
import { tagPage, type TagPage } from '../oci/tag-page.ts';
import { headerLines } from './answer-headers.ts';
import { readWhole, type Answer } from './answer.ts';
import { unavailable } from './outcome.ts';
import type { TimeLimit } from './time-limit.ts';
import type { TagList } from './upstream.ts';

/** Some registries send all tags at once: 16 MiB are 200,000 of them. */
const MAX_TAG_LIST_BYTES = 16 * 1024 * 1024;
const LIMITS: JsonLimits = { maxDepth: 32, maxValues: 500_000, maxKeys: 5000 };
const TAGS = objectOf({ name: SCALAR, tags: listOf(SCALAR) });
const LINK = /<([^<>]*)>([^<>]*)/g;
/** Without the brackets, as old versions of zot send it (project-zot/zot, `ListTags`). */
const BARE_LINK = /^\s*([^\s<>;,]+)\s*(;[^<>]*)$/;

/** ECR takes no more than so many of a page, and says 405 to more; any registry may send fewer than it was asked for. */
const MAX_PAGE = 1000;

/** What to ask for where a page was refused that a registry might take if it were smaller; undefined: nothing. */
export function smallerPage(page: TagPage, { status }: Answer): TagPage | undefined {
  const isRefused = [400, 405, 406, 413, 414, 416, 422].includes(status);
  return isRefused && Number(page.n) > MAX_PAGE ? { ...page, n: String(MAX_PAGE) } : undefined;
}

/** The page of tags in an answer (OCI distribution-spec, "Listing Tags"). Throws UpstreamFailure. */
export async function readTagList(answer: Answer, limit: TimeLimit): Promise<TagList> {
  const { url, headers } = answer;
  const body = await readWhole(answer, { maxBytes: MAX_TAG_LIST_BYTES, limit });
  const tags = parseTags(body);
  if (tags === undefined) {
    throw unavailable('not-a-registry', `${url.host} answered with something that is not a list of tags`);
  }
  const next = nextPage(headerLines(headers, 'link'), url);
  return { tags, ...(next === undefined ? {} : { next }) };
}

/** distribution sends `"tags": null` for a repository without any. */
function parseTags(body: Buffer): readonly string[] | undefined {
  let document: unknown;
  try {
    document = new JsonReader(body, LIMITS).read(TAGS);
  } catch {
    return undefined;
  }
  if (typeof document !== 'object' || document === null) return undefined;
  const tags = 'tags' in document ? document.tags : undefined;
  if (!('name' in document) && tags === undefined) return undefined;
  if (tags === null || tags === undefined) return [];
  return isTextList(tags) ? tags : undefined;
}

function isTextList(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}

/**
 * The query of the page that a `Link` of relation `next` points to (RFC 8288), seen from `from`; undefined if there is
 * none. Beside `n` and `last`, registries name pages in words of their own (quay.io by `next_page`).
 */
export function nextPage(lines: readonly string[], from: URL): TagPage | undefined {
  for (const { searchParams } of nextLinks(lines, from)) {
    const page = tagPage(searchParams);
    if (page.last !== undefined || page.more !== undefined) return page;
  }
  return undefined;
}

/** Where the links of relation `next` point (RFC 8288), seen from `from`. */
export function nextLinks(lines: readonly string[], from: URL): URL[] {
  const links = lines.flatMap((line) => {
    const bare = BARE_LINK.exec(line);
    return bare === null ? [...line.matchAll(LINK)] : [bare];
  });
  return links.flatMap(([, target = '', parameters = '']) => {
    const isNext = /;\s*rel\s*=\s*(?:next\b|"(?:[^"]*\s)?next(?:\s[^"]*)?")/i.test(parameters);
    return isNext && URL.canParse(target, from.href) ? [new URL(target, from)] : [];
  });
}
