// One node of a cluster of aedes brokers for many homes. All nodes share one redis, and know each other through it.
//
//     node node.mjs --host 0.0.0.0 --port 8883 --redis 127.0.0.1:6379 --accounts accounts.json --cert node.pem --key node.key
//
// Without --cert and --key it speaks plain TCP, and listens on this machine alone unless --host says otherwise.
//
// accounts.json: { "home-0001": "SHA-256 of the password, in hex" }. An account is a home: its name is the home's
// Response Information, and the only first topic level that it may use. Give each account a random password of 128
// bits or more (`openssl rand -hex 16`): a digest without salt protects nothing shorter.
//
// SIGHUP reads the accounts again, SIGUSR2 prints what the node has counted, SIGTERM ends it: the clients are told, and
// their wills stay in redis until they are back at another node.

import { createHash, timingSafeEqual } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { Readable } from 'node:stream'
import { parseArgs } from 'node:util'
import { Aedes } from 'aedes'
import Persistence from 'aedes-persistence-redis/asyncPersistence.js'
import Redis from 'ioredis'
import mqemitter from 'mqemitter-redis'

const { values: options } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '1883' },
    redis: { type: 'string', default: '127.0.0.1:6379' },
    accounts: { type: 'string', default: 'accounts.json' },
    cert: { type: 'string' },
    key: { type: 'string' }
  }
})
// A node that misses three heartbeats is dead, and another one publishes its wills.
const HEARTBEAT_MS = 2000
// What one client may send in one packet; hearthd's own limit is below.
const MAXIMUM_PACKET_SIZE = 256 * 1024
const MOST_SECONDS_OF_A_SESSION = 7 * 24 * 3600
const MOST_LINES_A_MINUTE = 60
const REDIS_AWAY_MS = 5000
// On a connection that subscribes, redis refuses all else. ioredis 5.11 sends SUBSCRIBE first, then its name and the
// question whether redis is ready. Where that is refused, the node hears nothing of the others. So it sends neither.
const SUBSCRIBER = { enableReadyCheck: false, disableClientInfo: true }
const EX_UNAVAILABLE = 69
const EX_SOFTWARE = 70
const EX_CONFIG = 78

let lines = { minute: 0, written: 0, leftOut: 0 }

const address = /^(.+):(\d+)$/.exec(options.redis)
if (!address) fail(`--redis ${options.redis}: expected HOST:PORT`)
const redisAt = { host: address[1], port: Number(address[2]) }

let accounts = null
accounts = readAccounts()
const counted = { bytesIn: 0, bytesOut: 0, published: 0, delivered: 0, refused: 0, moved: 0 }
process.on('uncaughtException', error => fail(error.message, EX_SOFTWARE))
const redis = connectToRedis()
const mq = mqemitter({ subConn: connectToRedis(SUBSCRIBER), pubConn: connectToRedis(), matchEmptyLevels: true })
// Each connection has told it already.
mq.state.on('error', () => {})
const persistence = keepWillDelays(subscribeAllAtOnce(new Persistence({ conn: redis })))

const broker = await Aedes.createBroker({
  persistence,
  mq,
  heartbeatInterval: HEARTBEAT_MS,
  maximumPacketSize: MAXIMUM_PACKET_SIZE,
  sessionExpiryIntervalLimit: MOST_SECONDS_OF_A_SESSION,
  queueLimit: 1000,
  responseInformation: client => client.home,
  preConnect,
  authenticate,
  authorizePublish,
  authorizeSubscribe: (client, sub, done) => done(null, isInside(client.home, sub.topic) ? sub : null),
  authorizeForward
})
for (const event of ['error', 'clientError', 'connectionError']) {
  broker.on(event, (...told) => note(event, told.at(-1)))
}
decideByTheNodeThatHasTheClient(broker)
const lastHeartbeats = new Map()
broker.mq.on('$SYS/+/heartbeat', (packet, done) => {
  lastHeartbeats.set(packet.payload.toString(), Date.now())
  done()
})

const connections = new Set()
const server = listener(connection => {
  connection.setNoDelay(true)
  connections.add(connection)
  connection.on('close', () => {
    connections.delete(connection)
    counted.bytesIn += connection.bytesRead
    counted.bytesOut += connection.bytesWritten
  })
  broker.handle(connection)
})
server.on('error', error => fail(error.message))
server.listen({ host: options.host, port: Number(options.port), backlog: 4096 }, () => {
  console.error(`node ${broker.id} listens on ${options.host}:${server.address().port}`)
})

process.on('SIGHUP', () => { accounts = readAccounts() })
process.on('SIGUSR2', () => console.log(JSON.stringify(count())))
process.on('SIGTERM', () => {
  server.close()
  broker.close(() => process.exit(0))
})

/** A node without redis would acknowledge what it cannot keep, so it ends; its supervisor starts it again. */
function connectToRedis (how = {}) {
  const connection = new Redis({ ...redisAt, ...how })
  let away = null
  connection.on('error', error => note('redis', error))
  connection.on('ready', () => {
    clearTimeout(away)
    away = null
  })
  connection.on('close', () => {
    const end = () => fail(`no redis at ${options.redis}`, EX_UNAVAILABLE)
    away ??= setTimeout(end, REDIS_AWAY_MS)
  })
  return connection
}

function listener (accept) {
  if (!options.cert && !options.key) return createServer(accept)
  try {
    const identity = { cert: readFileSync(options.cert), key: readFileSync(options.key) }
    const server = createTlsServer(identity, accept)
    server.on('tlsClientError', error => note('TLS', error))
    return server
  } catch (error) {
    fail(`--cert and --key: ${error.message}`)
  }
}

/** The home's name stands before the client identifier, so that no home can take over the session of another one. */
function preConnect (client, packet, done) {
  if (packet.protocolVersion !== 5) return done(new Error('only MQTT 5 has Response Information'))
  if (packet.clientId) packet.clientId = `${packet.username}.${packet.clientId}`
  done(null, true)
}

function authenticate (client, username, password, done) {
  const wanted = /^[a-z0-9_-]{1,64}$/.test(username) ? accounts.get(username) : undefined
  const given = createHash('sha256').update(password ?? '').digest()
  if (!wanted || !timingSafeEqual(wanted, given)) {
    counted.refused += 1
    return done(Object.assign(new Error(`wrong password for ${JSON.stringify(username)}`), { returnCode: 4 }))
  }
  client.home = username
  done(null, true)
}

/** Decides about a message, a request by its Response Topic as well, and a will. */
function authorizePublish (client, packet, done) {
  // The will of a client of a dead node; its topic was checked when this was its own node.
  const home = client?.home ?? packet.clientId?.split('.')[0]
  const responseTopic = packet.properties?.responseTopic
  if (!isInside(home, packet.topic) || (responseTopic !== undefined && !isInside(home, responseTopic))) {
    counted.refused += 1
    return done(new Error(`${home} may not use ${packet.topic}`))
  }
  // aedes leaves Will Delay Interval in the PUBLISH, where it is a protocol error.
  if (packet.properties && 'willDelayInterval' in packet.properties) {
    const { willDelayInterval, ...properties } = packet.properties
    packet.properties = properties
  }
  counted.published += 1
  done(null)
}

function authorizeForward (client, packet) {
  if (!isInside(client.home, packet.topic)) {
    counted.refused += 1
    return null
  }
  counted.delivered += 1
  return packet
}

function isInside (home, topic) {
  return Boolean(home) && topic.startsWith(`${home}/`)
}

/**
 * aedes stores all filters of a SUBSCRIBE once for each of them, and waits for answers that it cannot tell apart: with
 * more than one filter, SUBACK never comes. This stores them once, and those alone that the client may have.
 */
function subscribeAllAtOnce (persistence) {
  const stored = new WeakMap()
  const addSubscriptions = persistence.addSubscriptions.bind(persistence)
  // What finds the retained messages is no stream any more, and aedes wants one.
  const retained = persistence.createRetainedStreamCombi.bind(persistence)
  persistence.createRetainedStreamCombi = filters => Readable.from(retained(filters))
  persistence.addSubscriptions = (client, subscriptions) => {
    if (!stored.has(subscriptions)) {
      const allowed = subscriptions.filter(sub => isInside(client.home, sub.topic))
      stored.set(subscriptions, addSubscriptions(client, allowed))
    }
    return stored.get(subscriptions)
  }
  return persistence
}

/** aedes publishes the wills of a dead node without their delay. This counts it from the node's last heartbeat. */
function keepWillDelays (persistence) {
  const streamWill = persistence.streamWill.bind(persistence)
  persistence.streamWill = async function * (living) {
    for await (const will of streamWill(living)) {
      if (!lastHeartbeats.has(will.brokerId)) lastHeartbeats.set(will.brokerId, Date.now())
      const delay = (will.properties?.willDelayInterval ?? 0) * 1000
      if (Date.now() >= lastHeartbeats.get(will.brokerId) + delay) yield will
    }
  }
  return persistence
}

/**
 * In aedes, each node decides about wills and sessions by its own timers, also when the client has moved to another
 * node. Here redis has the node that a client was last at, and only that one publishes its will or ends its session.
 */
function decideByTheNodeThatHasTheClient (broker) {
  const NODES = 'fleet:nodes'
  broker.on('client', client => {
    redis.hget(NODES, client.id).then(async before => {
      await redis.hset(NODES, client.id, broker.id)
      if (before && before !== broker.id) {
        counted.moved += 1
        await persistence.delWill({ id: client.id, brokerId: before })
      }
    }).catch(error => note('moved client', error))
  })
  for (const name of ['publishWill', '_wipeSession']) {
    const decide = broker[name].bind(broker)
    broker[name] = (client, ...rest) => {
      redis.hget(NODES, client.id).then(node => {
        if (node === broker.id) decide(client, ...rest)
      }).catch(error => note(name, error))
    }
  }
}

function count () {
  let { bytesIn, bytesOut } = counted
  for (const connection of connections) {
    bytesIn += connection.bytesRead
    bytesOut += connection.bytesWritten
  }
  return { ...counted, bytesIn, bytesOut, connections: broker.connectedClients, rss: process.memoryUsage.rss() }
}

function readAccounts () {
  try {
    const entries = Object.entries(JSON.parse(readFileSync(options.accounts, 'utf8')))
    const all = new Map(entries.map(([name, digest]) => [name, Buffer.from(digest, 'hex')]))
    for (const [name, digest] of all) {
      if (digest.length !== 32) throw new Error(`${name}: expected a SHA-256 of 64 hexadecimal digits`)
    }
    return all
  } catch (error) {
    // A bad file while the node runs loses no account.
    if (!accounts) fail(`${options.accounts}: ${error.message}`)
    note('accounts', error)
    return accounts
  }
}

/** Writes a line of the log, at most so many in a minute: strangers can cause them. */
function note (what, error) {
  const minute = Math.floor(Date.now() / 60000)
  if (minute !== lines.minute) {
    if (lines.leftOut > 0) console.error(`${lines.leftOut} more lines were left out`)
    lines = { minute, written: 0, leftOut: 0 }
  }
  if (lines.written >= MOST_LINES_A_MINUTE) {
    lines.leftOut += 1
    return
  }
  lines.written += 1
  console.error(`${what}: ${error?.message ?? error}`)
}

function fail (why, code = EX_CONFIG) {
  console.error(`node.mjs: ${why}`)
  process.exit(code)
}
