import { describe, expect, it } from 'vitest';
import {
  headerText,
  isNotModified,
  isRangeValid,
  stalenessHeaders,
  warning,
} from '../../../src/http/registry/headers.ts';

const DIGEST = `sha256:${'a1'.repeat(32)}`;
const OTHER = `sha256:${'b2'.repeat(32)}`;

describe('the headers of a stale answer', () => {
  it.each([
    [0, '0 s'],
    [119, '119 s'],
    [120, '2 min'],
    [7199, '120 min'],
    [7200, '2 h'],
    [172_799, '48 h'],
    [172_800, '2 d'],
    [864_000, '10 d'],
  ])('tell an age of %i seconds, for people as %s', (seconds, age) => {
    const headers = stalenessHeaders({ reason: 'no answer', confirmedAt: 1000 }, 1000 + seconds * 1000);
    const text = `no answer; served from the cache, last confirmed ${age} ago`;
    expect(headers).toEqual({ Warning: `299 - "${text}"`, Age: String(seconds) });
  });

  it('tell no negative age when the clock was set back, and nothing of an answer that is not stale', () => {
    expect(stalenessHeaders({ reason: 'x', confirmedAt: 5000 }, 0)['Age']).toBe('0');
    expect(stalenessHeaders(undefined, 0)).toEqual({});
  });
});

describe('a warning', () => {
  it('holds nothing that ends it or its line, and is not long', () => {
    expect(warning('a "b" \\ c\r\nSet-Cookie: ü')).toBe('299 - "a b  cSet-Cookie: "');
    expect(headerText('x'.repeat(5000))).toHaveLength(1000);
  });
});

describe('a condition', () => {
  it.each([
    [undefined, false],
    [`"${DIGEST}"`, true],
    [DIGEST, true],
    [`W/"${DIGEST}"`, true],
    [`"${OTHER}", "${DIGEST}"`, true],
    ['*', true],
    [`"${OTHER}"`, false],
    ['', false],
  ])('If-None-Match: %s is met by what the client has: %s', (header, isMet) => {
    expect(isNotModified(header, DIGEST)).toBe(isMet);
  });

  it.each([
    [undefined, true],
    [`"${DIGEST}"`, true],
    [`W/"${DIGEST}"`, false],
    [DIGEST, false],
    [`"${OTHER}"`, false],
    [[`"${DIGEST}"`, `"${DIGEST}"`], false],
    ['Tue, 01 Jan 2030 00:00:00 GMT', false],
  ])('If-Range: %j lets a range count: %s', (header, isValid) => {
    expect(isRangeValid(header, DIGEST)).toBe(isValid);
  });
});
