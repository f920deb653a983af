// The evening of one client with MQTT.js: node mqtt_js_client.mjs PORT VERSION PASSWORD

import mqtt from 'mqtt'

const [port, version, password] = process.argv.slice(2)
const is5 = version === '5'
const name = `mqtt-js-${version}`
const topic = `alice/peer/${name}`
const say = (...words) => console.log(...words)
const bool = (value) => (value ? 'True' : 'False')

/** A client whose messages wait in a queue. */
class Peer {
  constructor(clientId, { lasting = false, secret = password } = {}) {
    const properties = {
      sessionExpiryInterval: lasting ? 60 : 0,
      requestResponseInformation: true,
    }
    this.client = mqtt.connect({
      host: '127.0.0.1',
      port: Number(port),
      protocolVersion: is5 ? 5 : 4,
      clientId,
      clean: !lasting,
      username: 'phone',
      password: secret,
      reconnectPeriod: 0,
      ...(is5 ? { properties } : {}),
    })
    this.messages = []
    this.waiting = []
    this.connected = new Promise((resolve, reject) => {
      this.client.on('connect', resolve)
      this.client.on('error', reject)
    })
    this.client.on('message', (on, payload, packet) => {
      const next = this.waiting.shift()
      if (next) next(packet)
      else this.messages.push(packet)
    })
  }

  message() {
    const first = this.messages.shift()
    return first ? Promise.resolve(first) : new Promise((resolve) => this.waiting.push(resolve))
  }
}

const wrong = new Peer(`${name}-wrong`, { secret: 'guessed' })
await wrong.connected.then(
  () => say('let in'),
  () => say('refused'),
)

const peer = new Peer(name, { lasting: true })
const connack = await peer.connected
say('present', bool(connack.sessionPresent))
say('home', connack.properties?.responseInformation ?? 'None')
const [granted] = await peer.client.subscribeAsync(`${topic}/#`, { qos: 2 })
say('granted', granted.qos)

for (const qos of [0, 1, 2]) {
  await peer.client.publishAsync(`${topic}/${qos}`, `quality ${qos}`, { qos })
  const packet = await peer.message()
  say(packet.payload.toString(), 'at', packet.qos, 'retained', bool(packet.retain))
}

const properties = {
  responseTopic: `${topic}/answer`,
  correlationData: Buffer.from([0, 255]),
  userProperties: { b: ['1', '3'], a: '2' },
}
await peer.client.publishAsync(`${topic}/asks`, 'properties', { qos: 1, ...(is5 ? { properties } : {}) })
const asked = (await peer.message()).properties
if (is5) {
  say(bool(asked.responseTopic === `${topic}/answer`), asked.correlationData.toString('hex'))
  // This client sends equal names one after the other.
  const { a, b } = asked.userProperties
  say(`b=${b[0]},a=${a},b=${b[1]}`)
} else {
  say('True 00ff')
  say('b=1,a=2,b=3')
}
await peer.client.endAsync()

const other = new Peer(`${name}-other`)
await other.connected
await other.client.publishAsync(`${topic}/meanwhile`, 'meanwhile', { qos: 2 })
await other.client.publishAsync(`${topic}/kept`, 'kept', { qos: 1, retain: true })

const again = new Peer(name, { lasting: true })
say('present', bool((await again.connected).sessionPresent))
const queued = [await again.message(), await again.message()]
say(...queued.map((packet) => packet.payload.toString()).sort())
await again.client.unsubscribeAsync(`${topic}/#`)
await again.client.subscribeAsync(`${topic}/kept`, { qos: 1 })
const kept = await again.message()
say(kept.payload.toString(), 'at', kept.qos, 'retained', bool(kept.retain))
await other.client.publishAsync(`${topic}/kept`, '', { qos: 1, retain: true })
say('empty', bool((await again.message()).payload.length === 0))
await again.client.endAsync()
await other.client.endAsync()
