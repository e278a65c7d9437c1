import { describe, expect, it } from 'vitest';
import { tagPage, tagPageQuery } from '../../src/oci/tag-page.ts';

const page = (query: string) => tagPage(new URLSearchParams(query));

describe('the page of a list of tags', () => {
  it('is what a query names, and is written as it was read', () => {
    const query = 'next_page=gAAA-b_c.1%3D%3D&n=10&last=v1%2F2';
    expect(page(query)).toEqual({ n: '10', last: 'v1/2', more: { next_page: 'gAAA-b_c.1==' } });
    expect(Object.fromEntries(tagPageQuery(page(query)))).toEqual(
      Object.fromEntries(new URLSearchParams(query)),
    );
    expect(page('')).toEqual({});
    expect(tagPageQuery({}).toString()).toBe('');
  });

  it('has no part of it that says of which registry', () => {
    expect(page('ns=docker.io&n=1')).toEqual({ n: '1' });
  });

  it('has few further parameters, with names and values that can be sent on', () => {
    expect(Object.keys(page('a=1&b=2&c=3&d=4&e=5').more ?? {})).toEqual(['a', 'b', 'c', 'd']);
    expect(page(`${'a'.repeat(65)}=1&x%20y=1&%3F=1&=1`)).toEqual({});
    expect(page(`x=${'a'.repeat(4097)}`)).toEqual({});
    expect(page(`x=${'a'.repeat(4096)}`).more?.['x']).toHaveLength(4096);
  });
});
