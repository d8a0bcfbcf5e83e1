//! Which of a machine's adapters are offered, and in which order: each card once, the class that trains
//! fastest first.
//!
//! A card shows up once for each graphics interface that it has a driver for (on Windows Vulkan and
//! DX12), and each of its appearances would be a GPU of its own. Works on what is known of adapters
//! before they are opened, so that it can be tested without them.

use crate::kernels::choice::AdapterClass;

/// The places in `infos` of the adapters that are offered, in the order in which they are numbered.
///
/// Of the appearances of a card those with the best interface stay: one that `fits`, if any does. What is a card is told by vendor and
/// device number, and by name where a driver gives no numbers (Metal): equal cards make one group,
/// of which the interface stays that shows most of them, since one without a driver of its own for one of
/// them shows fewer; of those that show as many, the first of [`preference`].
pub(super) fn offered(infos: &[wgpu::AdapterInfo], fits: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (place, info) in infos.iter().enumerate() {
        let group = groups
            .iter_mut()
            .find(|group| group.iter().any(|&other| same_card(info, &infos[other])));
        match group {
            Some(group) => group.push(place),
            None => groups.push(vec![place]),
        }
    }
    let mut stay: Vec<usize> = groups
        .iter()
        .flat_map(|group| {
            let shown = |by| group.iter().filter(move |&&of| infos[of].backend == by);
            let count = |by| shown(by).filter(|&&of| fits(of)).count();
            let interfaces = group.iter().map(|&of| infos[of].backend);
            let best = interfaces.min_by_key(|&by| (usize::MAX - count(by), preference(by)));
            best.into_iter()
                .flat_map(shown)
                .copied()
                .collect::<Vec<_>>()
        })
        .collect();
    stay.sort_by_key(|&of| (class(infos[of].device_type), of));
    stay
}

/// What an adapter of this type is.
pub(super) fn class(of: wgpu::DeviceType) -> AdapterClass {
    match of {
        wgpu::DeviceType::DiscreteGpu => AdapterClass::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterClass::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterClass::Virtual,
        wgpu::DeviceType::Other => AdapterClass::Other,
        wgpu::DeviceType::Cpu => AdapterClass::Software,
    }
}

/// Whether two adapters may be one card.
fn same_card(one: &wgpu::AdapterInfo, other: &wgpu::AdapterInfo) -> bool {
    let numbers = |of: &wgpu::AdapterInfo| (of.vendor, of.device);
    let of_one_class =
        (one.device_type == wgpu::DeviceType::Cpu) == (other.device_type == wgpu::DeviceType::Cpu);
    of_one_class && (one.name == other.name || one.vendor != 0 && numbers(one) == numbers(other))
}

/// Rank of an interface: the system's own on Apple's, then Vulkan, whose compiler is the driver's own;
/// DX12 depends on a shader compiler that is not part of every Windows, OpenGL has the fewest limits.
fn preference(interface: wgpu::Backend) -> usize {
    match interface {
        wgpu::Backend::Metal => 0,
        wgpu::Backend::Vulkan => 1,
        wgpu::Backend::Dx12 => 2,
        wgpu::Backend::BrowserWebGpu => 3,
        wgpu::Backend::Gl => 4,
        wgpu::Backend::Noop => 5,
    }
}

#[cfg(test)]
mod tests {
    use wgpu::Backend::{Dx12, Gl, Metal, Vulkan};
    use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};

    fn adapter(
        name: &str,
        [vendor, device]: [u32; 2],
        of: wgpu::DeviceType,
        interface: wgpu::Backend,
    ) -> wgpu::AdapterInfo {
        wgpu::AdapterInfo {
            name: name.to_owned(),
            vendor,
            device,
            ..wgpu::AdapterInfo::new(of, interface)
        }
    }

    /// Those of `infos` that are offered where all can run mspipe.
    fn offered(infos: &[wgpu::AdapterInfo]) -> Vec<usize> {
        super::offered(infos, |_| true)
    }

    const RTX: [u32; 2] = [0x10de, 0x2206];
    const UHD: [u32; 2] = [0x8086, 0x9a60];
    const WARP: [u32; 2] = [0x1414, 0x8c];
    const LLVMPIPE: [u32; 2] = [0x10005, 0];

    #[test]
    fn each_type_has_its_class() {
        use super::AdapterClass::{Discrete, Integrated, Other as Unknown, Software, Virtual};
        let types = [DiscreteGpu, IntegratedGpu, VirtualGpu, Other, Cpu];
        let classes = [Discrete, Integrated, Virtual, Unknown, Software];
        assert_eq!(types.map(super::class), classes);
    }

    #[test]
    fn a_discrete_card_comes_before_an_integrated_one_and_software_last() {
        let infos = [
            adapter("llvmpipe", LLVMPIPE, Cpu, Vulkan),
            adapter("UHD", UHD, IntegratedGpu, Vulkan),
            adapter("virtio", [0x1af4, 0x1050], VirtualGpu, Vulkan),
            adapter("unknown", [1, 1], Other, Vulkan),
            adapter("RTX", RTX, DiscreteGpu, Vulkan),
        ];
        assert_eq!(offered(&infos), [4, 1, 2, 3, 0]);
        assert_eq!(offered(&[]), [0; 0]);
    }

    #[test]
    fn a_card_is_offered_once_with_its_preferred_interface() {
        // A laptop with Windows: two cards and WARP, each by several interfaces; DX12 first.
        let infos = [
            adapter("NVIDIA RTX", RTX, DiscreteGpu, Dx12),
            adapter("Intel UHD", UHD, IntegratedGpu, Dx12),
            adapter("Microsoft Basic Render Driver", WARP, Cpu, Dx12),
            adapter("Intel(R) UHD Graphics", UHD, IntegratedGpu, Vulkan),
            adapter("NVIDIA RTX", RTX, DiscreteGpu, Vulkan),
            // OpenGL gives no numbers, and calls everything something else.
            adapter("NVIDIA RTX", [0, 0], Other, Gl),
        ];
        assert_eq!(offered(&infos), [4, 3, 2]);
        // Without a Vulkan driver.
        assert_eq!(offered(&infos[..3]), [0, 1, 2]);
        // A Mac with MoltenVK.
        let infos = [
            adapter("Apple M3", [0x106b, 0x1a], IntegratedGpu, Vulkan),
            adapter("Apple M3", [0, 0], IntegratedGpu, Metal),
        ];
        assert_eq!(offered(&infos), [1]);
    }

    #[test]
    fn an_interface_that_can_not_run_mspipe_gives_way_to_one_that_can() {
        let infos = [
            adapter("RTX", RTX, DiscreteGpu, Vulkan),
            adapter("RTX", RTX, DiscreteGpu, Dx12),
        ];
        assert_eq!(super::offered(&infos, |of| of == 1), [1]);
        // Listed with what it lacks.
        assert_eq!(super::offered(&infos, |_| false), [0]);
    }

    #[test]
    fn equal_cards_are_all_offered() {
        let two = |by| [0, 1].map(|_| adapter("RTX", RTX, DiscreteGpu, by));
        let both = [two(Dx12), two(Vulkan)].concat();
        assert_eq!(offered(&both), [2, 3]);
        assert_eq!(offered(&two(Vulkan)), [0, 1]);
        // One of them is reserved for another system's driver: DX12 shows more.
        assert_eq!(offered(&both[..3]), [0, 1]);
    }

    #[test]
    fn different_cards_of_one_vendor_and_drivers_of_one_system_are_kept_apart() {
        let infos = [
            adapter("Radeon RX 7900", [0x1002, 0x744c], DiscreteGpu, Vulkan),
            adapter("Radeon RX 6600", [0x1002, 0x73ff], DiscreteGpu, Dx12),
            adapter("llvmpipe", LLVMPIPE, Cpu, Vulkan),
            adapter("SwiftShader", [0x1ae0, 0xc0de], Cpu, Vulkan),
        ];
        assert_eq!(offered(&infos), [0, 1, 2, 3]);
    }
}
