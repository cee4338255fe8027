// Has the published ingest of testing-os do one thing, and answers with a line of JSON.
//
//   node driver.mjs DIRECTORY '{"do": "rebuild", "root": "/srv/dogfood", "now": "2026-03-20T00:00:00Z"}'
//
// DIRECTORY has the node_modules. `now`, where it is given, is what the clock says all the while: ages are told by it.
// Whoever measures gives none. A feed is a file with a submission in each line; every run is confirmed by its stub.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';

const [directory, text] = process.argv.slice(2);
const request = JSON.parse(text);
if (request.now !== undefined) stopClock(Date.parse(request.now));

const { ingest, verifyOnly } = await load('ingest/run.js');
const { rebuildIndexes } = await load('ingest/rebuild-indexes.js');
const { computeRecordPath } = await load('ingest/persist.js');
const { validateRecord } = await load('ingest/validate-record.js');
const { loadGlobalPolicy } = await load('ingest/load-context.js');
const { chainManifestPath } = await load('ingest/lib/chain-manifest.js');
const { GENESIS_DIGEST, submissionDigest } = await load('ingest/lib/integrity.js');
const { verify } = await load('verify/index.js');
const { stubProvenance } = await load('verify/validators/provenance.js');

// what can be asked for

const operations = {
  rebuild: ({ root }) => counts(rebuildIndexes(root)),

  validate: ({ root }) => {
    const paths = recordPaths(root);
    const invalid = paths.map(path => ({ path: relative(root, path), why: problem(path) })).filter(each => each.why);
    return { records: paths.length, invalid };
  },

  verify: async ({ root, feed }) =>
    Promise.all(submissions(feed).map(async submission => {
      const { record, would_persist_to } = await verifyOnly(submission, options(root));
      return { ...told(record), path: would_persist_to && relative(root, would_persist_to) };
    })),

  ingest: async ({ root, feed }) => {
    const answers = [];
    for (const submission of submissions(feed)) {
      const { record, path, written, duplicate } = await ingest(submission, options(root));
      answers.push({ ...told(record), run_id: submission.run_id, path: path && relative(root, path), written, duplicate });
    }
    return answers;
  },

  fill: async ({ root, feed }) => {
    await fill(root, submissions(feed));
    return counts(rebuildIndexes(root));
  },

  feed: async ({ root, feed }) => {
    const all = submissions(feed);
    const began = performance.now();
    for (const submission of all) await written(submission, root);
    return { wall_s: (performance.now() - began) / 1000 };
  },

  // `root` holds much and `empty_root` began empty: calls in turn, by the batch, and the median of each one's
  one: async ({ root, feed, empty_root, empty_feed, warm, batch }) => {
    const sides = [[root, submissions(feed), []], [empty_root, submissions(empty_feed), []]];
    for (const [place, given] of sides) for (const each of given.splice(0, warm)) await written(each, place);
    while (sides.some(([, given]) => given.length)) {
      for (const [place, given, times] of sides) {
        for (const each of given.splice(0, batch)) times.push(await written(each, place));
      }
    }
    const [many, empty] = sides.map(([, , times]) => median(times));
    return { wall_s: many, empty_s: empty };
  },
};

process.stdout.write(JSON.stringify(await operations[request.do](request)) + '\n');

// how

async function written(submission, root) {
  const began = performance.now();
  const answer = await ingest(submission, options(root));
  const seconds = (performance.now() - began) / 1000;
  if (!answer.written) throw new Error(`${submission.run_id} was not written`);
  return seconds;
}

// What one ingest after the other would leave, without the index rebuilds and the ledger rewrites between them.
async function fill(root, all) {
  const globalPolicy = loadGlobalPolicy(root);
  const ledger = [];
  let head = GENESIS_DIGEST;
  for (const submission of all) {
    const given = { globalPolicy, repoPolicy: null, provenance: stubProvenance, scenarios: null };
    const record = await verify(submission, { ...given, policyVersion: globalPolicy.policy_version });
    const digest = submissionDigest(record);
    record.integrity = { submission_digest: digest, prev_digest: head, seq: ledger.length };
    const path = computeRecordPath(validateRecord(record), root);
    write(path, JSON.stringify(record, null, 2) + '\n');
    ledger.push(JSON.stringify({
      seq: ledger.length, run_id: record.run_id, repo: record.repo, status: record.verification.status,
      path: relative(root, path), submission_digest: digest, prev_digest: head, persisted_at: new Date().toISOString(),
    }));
    head = digest;
  }
  write(chainManifestPath(root), ledger.join('\n') + '\n');
}

function load(name) {
  return import(pathToFileURL(resolve(directory, 'node_modules/@dogfood-lab', name)).href);
}

function stopClock(now) {
  const Real = Date;
  globalThis.Date = class extends Real {
    constructor(...given) {
      super(...(given.length ? given : [now]));
    }

    static now() {
      return now;
    }
  };
}

function options(root) {
  return { repoRoot: root, provenance: stubProvenance };
}

function submissions(feed) {
  return readFileSync(feed, 'utf-8').split('\n').filter(line => line.trim()).map(line => JSON.parse(line));
}

function recordPaths(root) {
  const names = readdirSync(join(root, 'records'), { recursive: true });
  return names.filter(name => name.endsWith('.json')).sort().map(name => join(root, 'records', name));
}

function problem(path) {
  try {
    validateRecord(JSON.parse(readFileSync(path, 'utf-8')));
    return null;
  } catch (error) {
    return error.message;
  }
}

function told(record) {
  if (!record) return {};
  const { status, rejection_reasons } = record.verification;
  return { run_id: record.run_id, status, verified: record.overall_verdict?.verified, reasons: rejection_reasons };
}

function counts({ accepted, rejected, corrupted, skipped, skippedCommit = null }) {
  return { accepted, rejected, corrupted, skipped, skippedCommit };
}

function write(path, content) {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
