// Private endpoints of everything that the app talks to, each with its DNS zone.

@description('Makes names unique.')
param token string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Subnet of the private endpoints.')
param subnetId string

@description('The virtual network.')
param vnetId string

@description('Account of the Functions host.')
param hostAccountId string

@description('Account that keeps the tenants.')
param dataAccountId string

@description('The topic of the change feed.')
param topicId string

@description('The Key Vault, or empty.')
param keyVaultId string

@description('Whether the data account has a container of checkpoints.')
param checkpointsEnabled bool

var suffix = environment().suffixes.storage
var zones = [
  'privatelink.blob.${suffix}'
  'privatelink.queue.${suffix}'
  'privatelink.table.${suffix}'
  'privatelink.eventgrid.azure.net'
  'privatelink.vaultcore.azure.net'
]
var always = [
  {
    name: 'host-blob'
    target: hostAccountId
    group: 'blob'
    zone: 0
  }
  {
    name: 'host-queue'
    target: hostAccountId
    group: 'queue'
    zone: 1
  }
  {
    name: 'host-table'
    target: hostAccountId
    group: 'table'
    zone: 2
  }
  {
    name: 'data-queue'
    target: dataAccountId
    group: 'queue'
    zone: 1
  }
  {
    name: 'data-table'
    target: dataAccountId
    group: 'table'
    zone: 2
  }
  {
    name: 'topic'
    target: topicId
    group: 'topic'
    zone: 3
  }
]
var blobOfData = [
  {
    name: 'data-blob'
    target: dataAccountId
    group: 'blob'
    zone: 0
  }
]
var vault = [
  {
    name: 'vault'
    target: keyVaultId
    group: 'vault'
    zone: 4
  }
]
var targets = concat(always, checkpointsEnabled ? blobOfData : [], empty(keyVaultId) ? [] : vault)

resource dnsZones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in zones: {
  name: zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, index) in zones: {
  parent: dnsZones[index]
  name: 'link-${token}'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: vnetId
    }
  }
}]

resource endpoints 'Microsoft.Network/privateEndpoints@2024-07-01' = [for target in targets: {
  name: 'pe-${target.name}-${token}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: target.name
        properties: {
          privateLinkServiceId: target.target
          groupIds: [
            target.group
          ]
        }
      }
    ]
  }
}]

resource zoneGroups 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-07-01' = [for (target, index) in targets: {
  parent: endpoints[index]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: target.group
        properties: {
          privateDnsZoneId: dnsZones[target.zone].id
        }
      }
    ]
  }
}]
