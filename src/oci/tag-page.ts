/** A page of a list of tags: at most `n` tags after `last` (OCI distribution-spec, "Listing Tags"). */
export interface TagPage {
  readonly n?: string | undefined;
  readonly last?: string | undefined;
  /** Other parameters that name the page; quay.io sends `next_page`. */
  readonly more?: Readonly<Record<string, string>> | undefined;
}

/** A parameter that is safe to send back. Some registries name pages by tokens of some 100 characters. */
const PARAMETER = /^[\w.-]{1,64}$/;
const MAX_VALUE_LENGTH = 4096;
const MAX_PARAMETERS = 4;

/** The page that a query names. `ns` names the registry and is not part of the page. */
export function tagPage(query: URLSearchParams): TagPage {
  const more = [...query]
    .filter(([name]) => name !== 'n' && name !== 'last' && name !== 'ns')
    .filter(([name, value]) => PARAMETER.test(name) && value.length <= MAX_VALUE_LENGTH)
    .slice(0, MAX_PARAMETERS);
  return {
    n: query.get('n') ?? undefined,
    last: query.get('last') ?? undefined,
    more: more.length === 0 ? undefined : Object.fromEntries(more),
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
