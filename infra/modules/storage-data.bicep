// The account that keeps the tenants: the queues with their poison twins, the registry, the dead letters of nobody.
// The table of each tenant is made when the tenant is registered, under a name nobody can guess.

@description('Name of the account.')
@minLength(3)
@maxLength(24)
param name string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Redundancy.')
param sku string

@description('Whether the account can be reached from outside of the virtual network.')
param publicNetworkAccess string

@description('The queue on which messages come in.')
param ingestQueue string

@description('The queue on which commits wait to be published.')
param publishQueue string

@description('The workspace that takes the metrics.')
param workspaceId string

// Poison queues are made here: the host makes one only after a 404, which a narrow role turns into a 403.
var queueNames = [
  ingestQueue
  '${ingestQueue}-poison'
  publishQueue
  '${publishQueue}-poison'
]
var tableNames = [
  'annalsregistry'
  'annalsdeadletters'
]

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'None'
      defaultAction: publicNetworkAccess == 'Disabled' ? 'Deny' : 'Allow'
    }
  }
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-01-01' = [for queueName in queueNames: {
  parent: queueService
  name: queueName
}]

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-01-01' = [for tableName in tableNames: {
  parent: tableService
  name: tableName
}]

// Nobody deletes the history of all tenants by accident.
resource lock 'Microsoft.Authorization/locks@2020-05-01' = {
  scope: account
  name: 'keep'
  properties: {
    level: 'CanNotDelete'
    notes: 'Every tenant of Annals is in here.'
  }
}

resource tableMetrics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: tableService
  name: 'metrics'
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

@description('Resource id.')
output id string = account.id

@description('Name of the account.')
output name string = account.name

@description('Blob endpoint.')
output blobEndpoint string = account.properties.primaryEndpoints.blob

@description('Queue endpoint.')
output queueEndpoint string = account.properties.primaryEndpoints.queue
