import { errorAnswer, jsonAnswer, type Answer } from './answer.ts';
import type { Repository } from './library.ts';
import type { LoggedRequest } from './log.ts';
import type { TagsLink, TagsWays } from './ways.ts';

/** OCI distribution-spec, "Listing Tags", in the ways of one registry. */
export function tagList(request: LoggedRequest, repository: Repository, ways: TagsWays): Answer {
  const { query, repository: name, path, headers } = request;
  const all = [...repository.tags.keys()].sort();
  const wished = query.has('n') && ways.all === undefined ? Number(query.get('n')) : Infinity;
  if (ways.tooMany !== undefined && query.has('n') && wished > (ways.max ?? Infinity)) {
    return errorAnswer(ways.tooMany.status, ways.tooMany);
  }
  const size = Math.min(wished, ways.max ?? Infinity);
  const before = ways.all === undefined ? (ways.offset ?? afterLast)(query, all) : 0;
  const tags = all.slice(before, before + size);
  const last = tags.at(-1);
  const offset = before + tags.length;
  if (last === undefined || (offset >= all.length && ways.linksOn === undefined)) {
    // As Go writes a list that was never made.
    return jsonAnswer(200, { name, tags: tags.length === 0 && ways.linksOn ? null : tags });
  }
  const link = (ways.link ?? hubLink)({ origin: `http://${headers.host}`, path, size, offset, last });
  return jsonAnswer(200, { name, tags }, { link });
}

function afterLast(query: URLSearchParams, tags: readonly string[]): number {
  const last = query.get('last') ?? '';
  return tags.filter((tag) => tag <= last).length;
}

function hubLink({ path, last, size }: TagsLink): string {
  return `<${path}?last=${last}&n=${size}>; rel="next"`;
}
