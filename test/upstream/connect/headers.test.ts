import { describe, expect, test } from 'vitest';
import {
  contentLength,
  contentRange,
  isHtml,
  pullsRemaining,
  retryAfterMs,
} from '../../../src/upstream/connect/headers.ts';

describe('Content-Length', () => {
  test.each([
    ['0', 0],
    ['536870912', 536_870_912],
    ['-1', undefined],
    ['1e3', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('%j is %j bytes', (text, bytes) => {
    expect(contentLength({ 'content-length': text })).toBe(bytes);
  });
});

describe('Content-Range', () => {
  test.each([
    ['bytes 0-0/1', { range: { start: 0, end: 1 }, total: 1 }],
    ['bytes 500-1499/2048', { range: { start: 500, end: 1500 }, total: 2048 }],
    ['Bytes 5-9/*', { range: { start: 5, end: 10 } }],
    ['bytes */2048', { total: 2048 }],
    ['bytes 9-5/20', undefined],
    ['bytes 5-20/20', undefined],
    ['bytes 5-/20', undefined],
    ['items 0-1/2', undefined],
    ['bytes 99999999999999999999-99999999999999999999/*', undefined],
  ])('%j is read as %j', (text, expected) => {
    expect(contentRange({ 'content-range': text })).toEqual(expected);
  });
});

describe('Retry-After', () => {
  const nowMs = Date.parse('2026-01-01T00:00:00Z');

  test.each([
    ['60', 60_000],
    [' 0 ', 0],
    ['Thu, 01 Jan 2026 00:02:00 GMT', 120_000],
    ['Wed, 31 Dec 2025 23:59:00 GMT', 0],
    ['soon', undefined],
    ['-5', undefined],
    ['1.5', undefined],
    [undefined, undefined],
  ])('%j is %j ms', (text, expected) => {
    expect(retryAfterMs({ 'retry-after': text }, nowMs)).toBe(expected);
  });
});

describe('the pulls that are left', () => {
  test.each([
    ['20;w=21600', 20],
    ['0;w=21600', 0],
    ['0', 0],
    [';w=21600', undefined],
    [undefined, undefined],
  ])('%j is %j', (text, expected) => {
    expect(pullsRemaining({ 'ratelimit-remaining': text })).toBe(expected);
  });
});

describe('a page of HTML', () => {
  test.each([
    ['text/html', true],
    ['Text/HTML; charset=utf-8', true],
    ['application/xhtml+xml', true],
    ['application/octet-stream', false],
    ['text/htmlish', false],
    [undefined, false],
  ])('%j: %j', (type, expected) => {
    expect(isHtml({ 'content-type': type })).toBe(expected);
  });
});
