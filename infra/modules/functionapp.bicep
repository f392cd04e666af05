// The function app on Flex Consumption: a custom handler, so the runtime is `custom` and stands here alone.

@description('Makes names unique.')
param token string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Resource id of the identity.')
param identityId string

@description('Client id of the identity.')
param identityClientId string

@description('Account of the Functions host.')
param hostAccountName string

@description('Container of the deployment package.')
param deploymentContainer string

@description('Account that keeps the tenants.')
param dataAccountName string

@description('The queue on which messages come in.')
param ingestQueue string

@description('The queue on which commits wait to be published.')
param publishQueue string

@description('Where events are published.')
param topicEndpoint string

@description('Connection string of Application Insights: an address, not a secret, since local authentication is off.')
param insightsConnectionString string

@description('Base of links. Empty: the host name of the app.')
param publicUrl string

@description('How callers prove who they are.')
param auth string

@description('Names of the first operators, joined by commas.')
param operators string

@description('Accepted issuers of bearer tokens, joined by commas.')
param tokenIssuers string

@description('Accepted audiences of bearer tokens, joined by commas.')
param tokenAudiences string

@description('Where the keys of the issuer are.')
param jwksUrl string

@description('Tenants that the queue may write to, joined by commas; all, if empty.')
param queueTenants string

@description('Hosts of private endpoints that may be the account of a tenant, joined by commas.')
param siloHosts string

@description('HTTP writes a second of one tenant on one instance.')
param writesPerSecond int

@description('HTTP reads a second of one tenant on one instance.')
param readsPerSecond int

@description('Key that signs checkpoints, as a reference to a vault, or empty.')
param checkpointKey string

@description('URL of the container that keeps checkpoints, or empty.')
param checkpointContainerUrl string

@description('Tracing filter of the handler.')
param logFilter string

@description('Base URL of an OTLP collector, or empty.')
param otlpEndpoint string

@description('Memory of an instance in MB.')
param instanceMemoryMB int

@description('Most instances at once.')
param maximumInstanceCount int

@description('HTTP requests that one instance works at the same time.')
param httpPerInstanceConcurrency int

@description('Instances that are always ready.')
param alwaysReady array

@description('Whether the app can be reached from the internet.')
param publicNetworkAccess string

@description('Subnet of the app, or empty.')
param subnetId string

resource hostAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: hostAccountName
}

resource dataAccount 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: dataAccountName
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: 'plan-annals-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: 'func-annals-${token}'
  location: location
  tags: union(tags, {
    'azd-service-name': 'annals'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    publicNetworkAccess: publicNetworkAccess
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      alwaysOn: false
    }
    functionAppConfig: {
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostAccount.properties.primaryEndpoints.blob}${deploymentContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReady
        triggers: {
          http: {
            perInstanceConcurrency: httpPerInstanceConcurrency
          }
        }
      }
    }
  }
}

// The whole map: a setting that is not in it is removed. No secret is in it.
resource settings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: {
    // The Functions host's own account.
    AzureWebJobsStorage__blobServiceUri: hostAccount.properties.primaryEndpoints.blob
    AzureWebJobsStorage__queueServiceUri: hostAccount.properties.primaryEndpoints.queue
    AzureWebJobsStorage__tableServiceUri: hostAccount.properties.primaryEndpoints.table
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: identityClientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
    // Largest body that the host takes: the API takes 6 MiB, and answers above that itself.
    FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '8388608'
    // Queue triggers, and the handler's own reads and writes.
    AnnalsStorage__queueServiceUri: dataAccount.properties.primaryEndpoints.queue
    AnnalsStorage__tableServiceUri: dataAccount.properties.primaryEndpoints.table
    AnnalsStorage__credential: 'managedidentity'
    AnnalsStorage__clientId: identityClientId
    // The change feed.
    AnnalsEventGrid__topicEndpointUri: topicEndpoint
    AnnalsEventGrid__credential: 'managedidentity'
    AnnalsEventGrid__clientId: identityClientId
    // The handler.
    ANNALS_PUBLIC_URL: empty(publicUrl) ? 'https://${app.properties.defaultHostName}' : publicUrl
    ANNALS_INGEST_QUEUE: ingestQueue
    ANNALS_PUBLISH_QUEUE: publishQueue
    ANNALS_AUTH: auth
    ANNALS_OPERATORS: operators
    ANNALS_TOKEN_ISSUERS: tokenIssuers
    ANNALS_TOKEN_AUDIENCES: tokenAudiences
    ANNALS_JWKS_URL: jwksUrl
    ANNALS_QUEUE_TENANTS: queueTenants
    ANNALS_STORAGE_SUFFIX: environment().suffixes.storage
    ANNALS_STORAGE_HOSTS: siloHosts
    ANNALS_WRITES_PER_SECOND: string(writesPerSecond)
    ANNALS_READS_PER_SECOND: string(readsPerSecond)
    ANNALS_CHECKPOINT_KEY: checkpointKey
    ANNALS_CHECKPOINT_CONTAINER: checkpointContainerUrl
    ANNALS_LOG: logFilter
    ANNALS_OTLP_ENDPOINT: otlpEndpoint
  }
}

@description('Name of the app.')
output name string = app.name

@description('Where the API answers, under /api.')
output url string = 'https://${app.properties.defaultHostName}'
