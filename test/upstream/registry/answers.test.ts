import { describe, expect, test } from 'vitest';
import { nextPage } from '../../../src/upstream/registry/answers.ts';

const FROM = new URL('https://registry.example/v2/library/a/tags/list?n=2');

describe('the next page of tags', () => {
  test.each([
    ['</v2/library/a/tags/list?last=b&n=2>; rel="next"', { last: 'b', n: '2' }],
    ['<https://registry.example/v2/library/a/tags/list?last=b>; rel=next', { last: 'b' }],
    ['<?last=1%2E0%2B>; title="x"; REL = "prefetch next"', { last: '1.0+' }],
    ['</first>; rel="first", </v2/x?last=b&n=2>; rel="next"', { last: 'b', n: '2' }],
    ['</v2/x?last=a,b>;rel="next"', { last: 'a,b' }],
    ['/v2/x/tags/list?n=2&last=b; rel="next"', { last: 'b', n: '2' }],
  ])('of %j is %j', (line, expected) => {
    expect(nextPage([line], FROM)).toEqual(expected);
  });

  test.each([
    '',
    '</v2/x?last=b>; rel="prev"',
    '</v2/x?n=2>; rel="next"',
    '<http://[>; rel="next"',
    'rel="next"',
  ])('is none of %j', (line) => {
    expect(nextPage([line], FROM)).toBeUndefined();
  });
});
