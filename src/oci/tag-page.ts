/** A page of a list of tags: at most `n` of them, those after `last` (OCI distribution-spec, "Listing Tags"). */
export interface TagPage {
  readonly n?: string;
  readonly last?: string;
  /** What else names it, in the words of the registry that did (quay.io: `next_page`). */
  readonly more?: Readonly<Record<string, string>>;
}

/** A parameter that can be sent back: registries name pages by tokens of some hundred characters. */
const PARAMETER = /^[\w.-]{1,64}$/;
const MAX_VALUE_LENGTH = 4096;
const MAX_PARAMETERS = 4;

/** The page that a query names; `ns` says of which registry, and is no part of it. */
export function tagPage(query: URLSearchParams): TagPage {
  const n = query.get('n');
  const last = query.get('last');
  const more = [...query]
    .filter(([name]) => name !== 'n' && name !== 'last' && name !== 'ns')
    .filter(([name, value]) => PARAMETER.test(name) && value.length <= MAX_VALUE_LENGTH)
    .slice(0, MAX_PARAMETERS);
  return {
    ...(n === null ? {} : { n }),
    ...(last === null ? {} : { last }),
    ...(more.length === 0 ? {} : { more: Object.fromEntries(more) }),
  };
}

/** The query that names a page. */
export function tagPageQuery({ n, last, more }: TagPage): URLSearchParams {
  return new URLSearchParams({
    ...more,
    ...(n === undefined ? {} : { n }),
    ...(last === undefined ? {} : { last }),
  });
}
