# Every image, once. `make -f Makefile_dev.txt build` bakes with labels (labels.sh); without them, from the repository:
#     docker buildx bake -f workload_images/docker-bake.hcl etl

# Names: REGISTRY/bulkhead-<image>:TAG.
variable "REGISTRY" {
  default = ""
}

variable "TAG" {
  default = "latest"
}

# What a site brings: a base image with Python, an index, a file of CA certificates, a proxy, an image of wheels.
variable "BASE_IMAGE" {
  default = "python:3.13-slim-trixie"
}

variable "PACKAGE_INDEX" {
  default = ""
}

variable "CA_CERTIFICATES" {
  default = ""
}

variable "HTTP_PROXY" {
  default = ""
}

variable "HTTPS_PROXY" {
  default = ""
}

variable "NO_PROXY" {
  default = ""
}

variable "WHEELS" {
  default = "scratch"
}

# Set for a release: an image for each platform, which an engine cannot load but a registry can hold.
variable "RELEASE" {
  default = ""
}

function "name" {
  params = [image]
  result = "${REGISTRY == "" ? "" : "${REGISTRY}/"}bulkhead-${image}:${TAG}"
}

group "default" {
  targets = ["workloads", "platform"]
}

group "workloads" {
  targets = ["etl", "ml", "showcase"]
}

group "platform" {
  targets = ["orchestrator", "init", "engine-proxy"]
}

# A login in the index's address, or a certificate, is there while packages are installed, and in no layer.
target "_image" {
  context   = "."
  platforms = RELEASE == "" ? [] : ["linux/amd64", "linux/arm64"]
  secret = concat(
    CA_CERTIFICATES == "" ? [] : ["id=ca,src=${CA_CERTIFICATES}"],
    PACKAGE_INDEX == "" ? [] : ["id=index,env=PACKAGE_INDEX"],
  )
  args = {
    BASE_IMAGE  = BASE_IMAGE
    HTTP_PROXY  = HTTP_PROXY == "" ? null : HTTP_PROXY
    HTTPS_PROXY = HTTPS_PROXY == "" ? null : HTTPS_PROXY
    NO_PROXY    = NO_PROXY == "" ? null : NO_PROXY
  }
}

target "_python" {
  inherits   = ["_image"]
  dockerfile = "workload_images/python.Dockerfile"
  args       = { WHEELS = WHEELS }
}

# One target for each workload: the name is the contract's `image`, TEAM the folder.
target "etl" {
  inherits = ["_python"]
  tags     = [name("etl")]
  args     = { TEAM = "etl" }
}

target "ml" {
  inherits = ["_python"]
  tags     = [name("ml")]
  args     = { TEAM = "ml" }
}

target "showcase" {
  inherits = ["_python"]
  tags     = [name("showcase")]
  args     = { TEAM = "showcase" }
}

# An example without Python's packages: the shell script of the showcase.
target "showcase-shell" {
  inherits   = ["_image"]
  dockerfile = "workload_images/shell.Dockerfile"
  tags       = [name("showcase-shell")]
  args       = { TEAM = "showcase" }
}

target "orchestrator" {
  inherits   = ["_image"]
  dockerfile = "deployment/orchestrator.Dockerfile"
  tags       = [name("orchestrator")]
  args       = { WHEELS = WHEELS }
}

target "init" {
  inherits = ["_image"]
  context  = "workload_images/init"
  tags     = [name("init")]
}

target "engine-proxy" {
  inherits = ["_image"]
  context  = "deployment/engine-proxy"
  tags     = [name("engine-proxy")]
}

# Every locked package as a wheel, for a site without an index (deployment/offline).
target "wheels" {
  inherits   = ["_image"]
  dockerfile = "workload_images/wheels.Dockerfile"
  tags       = [name("wheels")]
}
