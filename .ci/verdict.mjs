/*
 * Prints "N passed, N failed" from the JSON report of a test run, and exits with 1 unless tests have run and all of
 * them have passed. A file that failed outside of its tests counts as one failure.
 */
import { readFileSync } from 'node:fs';

const { success, testResults: files } = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const count = (file, status) => file.assertionResults.filter((test) => test.status === status).length;
const sum = (counts) => counts.reduce((total, each) => total + each, 0);

const all = sum(files.map((file) => file.assertionResults.length));
const passed = sum(files.map((file) => count(file, 'passed')));
const failed = sum(files.map((file) => Math.max(count(file, 'failed'), file.status === 'failed' ? 1 : 0)));

if (passed < all) process.stdout.write(`${all - passed} of ${all} tests did not run to a good end\n`);
process.stdout.write(`${passed} passed, ${failed} failed\n`);
if (!success || passed === 0 || passed < all || failed > 0) process.exitCode = 1;
